"""StudioML experiments end to end: the installed command, Google's emulator, MinIO, real containers, real Pythons."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from agent.adapters.local_image import make_root
from agent.process import run

from tests.e2e.keyring import Keyring
from tests.e2e.site import Site
from tests.e2e.studio import PROJECT, StudioClient, archive
from tests.oci import Repository, layer_of
from tests.servers import Emulator, Minio, Registry
from tests.waiting import wait_until

NUMBERS = count()
NewSite = Callable[..., Site]
CODE = """
import json, os, sys
print("arguments", sys.argv[1:])
print("in", os.getcwd().split("/")[-3:-1], os.environ["STUDIOML_EXPERIMENT"], os.environ["STEPS"])
print(json.dumps({"experiment": {"name": "first", "accuracy": 0.5}}))
print(open("../data/numbers.csv").read().strip())
assert os.path.realpath(os.environ["STUDIOML_HOME"]) == os.path.realpath("../../..")
for tag in ("modeldir", "retval"):
    with open(f"../{tag}/{tag}", "w") as file:
        file.write("made by the job")
"""
# In an image whose python3 is the shell.
SCRIPT = 'echo "arguments $*"; pwd; echo "steps $STEPS"; ls ..; echo made > ../modeldir/weights\n'


@pytest.fixture
def studio(emulator: Emulator, minio: Minio, bucket: str) -> StudioClient:
    return StudioClient(emulator, minio, bucket, f"exp{next(NUMBERS)}")


@pytest.fixture
def new_host(new_site: NewSite, emulator: Emulator, minio: Minio, studio: StudioClient) -> Callable[..., Site]:
    """A function that makes a host of the client's queue; `studioml` and `policy` are lines of these sections."""

    def make(name: str = "board-1", studioml: str = "", policy: str = "", queue: str = "") -> Site:
        endpoint = minio.endpoint.replace("http:", "s3+http:")
        more = f'[pubsub]\nendpoint = "{emulator.endpoint}"\n[studioml]\n{studioml}\n'
        more += f'[policy]\nbrought_prefixes = ["{endpoint}/", "http://127.0.0.1/"]\n{policy}\n'
        site = new_site(name, more=more)
        url = f"pubsub://{PROJECT}/{studio.queue}_sub?plain"
        text = site.config.read_text().replace(
            f'url = "{site.queue}"', f'url = "{url}"\nresults = "{site.queue}/results"'
        )
        site.config.write_text(text.replace('lanes = ["*"]\n', queue))
        site.call("queue", "init")
        return site

    return make


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the URL of a web server that serves it."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def studio_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small root file system whose python3 is the shell, and whose runscript says so."""
    tree = tmp_path_factory.mktemp("studio-image") / "root"
    make_root(tree)
    python = tree / "bin/python3"
    python.write_text('#!/bin/sh\nexec sh "$@"\n')
    python.chmod(0o755)
    (tree / ".singularity.d").mkdir()
    runscript = tree / ".singularity.d/runscript"
    runscript.write_text("#!/bin/sh\necho runscript in $PWD\necho made > ../modeldir/weights\n")
    runscript.chmod(0o755)
    (tree / "singularity").symlink_to(".singularity.d/runscript")
    return tree


@pytest.fixture(scope="session")
def studio_image(studio_tree: Path) -> Path:
    """An image of it."""
    target = studio_tree.with_name("studio.sif")
    done = run(["apptainer", "build", str(target), str(studio_tree)], 120.0)
    assert done.status == 0, done.err
    return target


def data(studio: StudioClient, key: str) -> dict[str, Any]:
    """Store an artifact `data` of the experiment; return its description."""
    studio.put(f"blobstore/{key}-data.tar", archive({"numbers.csv": "1,2,3\n"}))
    return {"data": studio.artifact(f"blobstore/{key}-data.tar", mutable=False)}


def sid_of(site: Site) -> str:
    """Return the id of the only job that the site's results store knows."""
    (sid,) = {path.parent.parent.name for path in site.records("*/attempts/*.json")}
    return sid


# --- in an environment -----------------------------------------------------------------------------------------------


def test_an_experiment_runs_in_an_environment_with_what_it_asks_for(
    studio: StudioClient, new_host: Callable[..., Site]
) -> None:
    site = new_host(studioml="trusted = true")
    code = f"import six\nprint('six', six.__version__)\n{CODE}"
    message = studio.experiment(
        "first",
        {"train.py": code},
        "train.py",
        args=["10", "'a b'"],
        pythonenv=["six==1.16.0"],
        artifacts=data(studio, "first"),
    )
    studio.submit(message)
    site.until_empty()
    log = studio.log("first")
    assert "six 1.16.0\narguments ['10', 'a b']\n" in log
    name = log.partition("in ['experiments', '")[2].partition("'")[0]
    assert f"in ['experiments', '{name}'] {name} 3\n" in log
    assert name.endswith(".1")
    assert "1,2,3\n" in log
    assert studio.members("first", "modeldir") == {"modeldir": b"made by the job"}
    assert studio.members("first", "retval") == {"retval": b"made by the job"}
    assert not studio.exists("experiments/first/tb.tar"), "empty directories are not uploaded"
    record = studio.record("first")
    assert (record["status"], record["owner"]) == ("finished", "guest")
    assert record["time_started"] <= record["time_finished"]
    assert studio.left() == 0
    assert site.view(sid_of(site))["name"] == "first"
    assert site.state_of(sid_of(site)) == "succeeded"
    assert site.leftovers() == []


def test_without_trusted_mode_it_waits_for_a_host_that_has_it_and_the_host_says_so(
    studio: StudioClient, new_host: Callable[..., Site]
) -> None:
    site = new_host()
    studio.submit(studio.experiment("waits", {"train.py": "print(1)"}, "train.py"))
    with site.agent():
        wait_until(lambda: "[studioml] trusted = true" in site.agent_log(), 20, "the log says what is missing")
    assert not studio.exists("experiments/waits/output.tar")
    assert studio.record("waits")["status"] == "waiting"


def test_a_package_that_does_not_exist_fails_the_experiment_and_its_log_says_why(
    studio: StudioClient, new_host: Callable[..., Site]
) -> None:
    site = new_host(studioml="trusted = true")
    studio.submit(
        studio.experiment("typo", {"train.py": "print(1)"}, "train.py", pythonenv=["edge-agent-no-such==1.0"])
    )
    site.until_empty()
    assert "edge-agent-no-such" in studio.log("typo")
    assert studio.record("typo")["status"] == "finished"
    assert studio.left() == 0


# --- in an image -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("filename", ["train.py", None])
def test_an_experiment_runs_in_an_image_that_its_client_uploaded(
    studio: StudioClient, new_host: Callable[..., Site], studio_image: Path, filename: str | None
) -> None:
    site = new_host()
    studio.put("blobstore/image.tar", archive({"./studio.simg": studio_image.read_bytes()}))
    image = {"_singularity": studio.artifact("blobstore/image.tar", mutable=False)}
    studio.submit(studio.experiment("boxed", {"train.py": SCRIPT}, filename, args=["x", "'y z'"], artifacts=image))
    print(site.until_empty())
    log = studio.log("boxed")
    if filename is None:
        assert "runscript in /home/job/experiments/" in log
    else:
        assert "arguments x y z\n/home/job/experiments/" in log
        assert "steps 3\n" in log
        assert {"workspace", "output", "modeldir", "tb", "retval"} <= set(log.split())
    assert studio.members("boxed", "modeldir") == {"weights": b"made\n"}
    assert studio.record("boxed")["status"] == "finished"
    assert site.leftovers() == []


def test_an_experiment_runs_in_an_image_of_a_web_server(
    studio: StudioClient, new_host: Callable[..., Site], studio_image: Path, files: tuple[Path, str]
) -> None:
    folder, url = files
    (folder / "studio.sif").write_bytes(studio_image.read_bytes())
    site = new_host(policy="")
    site.config.write_text(site.config.read_text().replace('"http://127.0.0.1/"', f'"{url}/"'))
    image = {"_singularity": {"mutable": False, "unpack": False, "url": f"{url}/studio.sif"}}
    studio.submit(studio.experiment("web", {"train.py": SCRIPT}, "train.py", artifacts=image))
    site.until_empty()
    assert "steps 3\n" in studio.log("web")


def test_an_experiment_runs_in_an_image_of_a_registry(
    studio: StudioClient, new_host: Callable[..., Site], studio_tree: Path, registry: Registry
) -> None:
    site = new_host(policy=f'image_prefixes = ["docker://{registry.host}/lab/"]')
    arch = json.loads(site.call("probe", "--json"))["cpu"]["arch"]
    Repository(registry.url, "lab/studio").push("1.0", layer_of(studio_tree), arch)
    url = f"dockerhub://{registry.host}/lab/studio:1.0"
    image = {"_singularity": {"mutable": False, "unpack": False, "qualified": url}}
    studio.submit(studio.experiment("pulled", {"train.py": SCRIPT}, "train.py", artifacts=image))
    site.until_empty()
    assert "steps 3\n" in studio.log("pulled")
    assert site.leftovers() == []


def test_an_image_that_is_not_there_fails_the_experiment(studio: StudioClient, new_host: Callable[..., Site]) -> None:
    site = new_host()
    image = {"_singularity": studio.artifact("blobstore/nothing.tar", mutable=False)}
    studio.submit(studio.experiment("no-image", {"train.py": SCRIPT}, "train.py", artifacts=image))
    site.until_empty()
    assert "nothing.tar" in studio.log("no-image")
    assert studio.left() == 0


# --- while it runs, and how it ends ----------------------------------------------------------------------------------


@pytest.fixture
def boxed(studio: StudioClient, studio_image: Path) -> Callable[..., dict[str, Any]]:
    """A function that makes experiments that run a shell script in the image."""
    studio.put("blobstore/image.tar", archive({"studio.sif": studio_image.read_bytes()}))

    def make(key: str, script: str, **keys: Any) -> dict[str, Any]:
        image = {"_singularity": studio.artifact("blobstore/image.tar", mutable=False)}
        artifacts = {**image, **keys.pop("artifacts", {})}
        return studio.experiment(key, {"train.py": script}, "train.py", artifacts=artifacts, **keys)

    return make


RUNS_ON = "echo up; echo half > ../modeldir/weights; sleep 60; echo never"


def test_a_client_that_stops_its_experiment_gets_what_there_is_by_then(
    studio: StudioClient, new_host: Callable[..., Site], boxed: Callable[..., dict[str, Any]]
) -> None:
    site = new_host()
    studio.submit(boxed("stopped", RUNS_ON))
    with site.agent():
        wait_until(lambda: studio.record("stopped")["status"] == "running", 30, "it runs")
        studio.change_record("stopped", status="stopped")
        wait_until(lambda: studio.record("stopped")["status"] == "finished", 40, "it is over")
        wait_until(lambda: site.leftovers() == [], 20, "nothing is left")
    assert studio.log("stopped").startswith("up\n")
    assert "never" not in studio.log("stopped")
    assert studio.members("stopped", "modeldir") == {"weights": b"half\n"}
    assert studio.left() == 0


def test_a_status_artifact_that_says_stopped_ends_the_experiment(
    studio: StudioClient, new_host: Callable[..., Site], boxed: Callable[..., dict[str, Any]]
) -> None:
    site = new_host()
    status = {"_status": studio.artifact("experiments/asked/_status.tar", mutable=True)}
    studio.submit(boxed("asked", RUNS_ON, artifacts=status))
    with site.agent():
        wait_until(lambda: studio.record("asked")["status"] == "running", 30, "it runs")
        text = json.dumps({"key": "asked", "status": "STOPPED"})
        studio.put("experiments/asked/_status.tar", archive({"status.json": text}))
        wait_until(lambda: studio.record("asked")["status"] == "finished", 40, "it is over")
    assert studio.members("asked", "modeldir") == {"weights": b"half\n"}


@pytest.mark.parametrize("place", ["in an image", "in an environment"])
def test_no_shell_reads_variables_arguments_or_names(
    studio: StudioClient,
    new_host: Callable[..., Site],
    boxed: Callable[..., dict[str, Any]],
    tmp_path: Path,
    place: str,
) -> None:
    mark = tmp_path / "evaluated"
    evil = f"$(touch {mark}) `touch {mark}`; \"'\\ $HOME ${{PATH}}\ttail"
    name = "a b'c\"d$(id).py"
    if place == "in an image":
        site, script = new_host(), 'printf \'%s|\' "$EVIL" "$1"; : > \'../modeldir/x y"z\''
        message = boxed("evil", "true", args=[evil], config={"env": {"EVIL": evil}})
        studio.put("blobstore/evil-workspace.tar", archive({name: script}))
    else:
        site = new_host(studioml="trusted = true")
        script = 'import os, sys; print(os.environ["EVIL"], sys.argv[1], sep="|", end="|")\n'
        script += "open('../modeldir/x y\"z', 'w').close()"
        message = studio.experiment("evil", {name: script}, name, args=[evil], config={"env": {"EVIL": evil}})
    message["experiment"]["filename"] = name
    studio.submit(message)
    site.until_empty()
    assert studio.log("evil") == f"{evil}|{evil}|"
    assert not mark.exists()
    assert set(studio.members("evil", "modeldir")) == {'x y"z'}


def test_mutable_artifacts_are_saved_while_it_runs(
    studio: StudioClient, new_host: Callable[..., Site], boxed: Callable[..., dict[str, Any]]
) -> None:
    site = new_host()
    fast = {"modeldir": studio.artifact("experiments/saved/modeldir.tar", mutable=True, saveFrequency=10)}
    studio.submit(boxed("saved", RUNS_ON, artifacts=fast, max_duration="40s"))
    with site.agent():
        wait_until(lambda: studio.exists("experiments/saved/modeldir.tar"), 40, "the checkpoint")
        assert studio.record("saved")["status"] == "running"
        assert studio.members("saved", "modeldir") == {"weights": b"half\n"}


def test_max_duration_ends_an_experiment_and_uploads_what_it_made(
    studio: StudioClient, new_host: Callable[..., Site], boxed: Callable[..., dict[str, Any]]
) -> None:
    site = new_host()
    studio.submit(boxed("slow", RUNS_ON, max_duration="2s"))
    site.until_empty()
    assert site.state_of(sid_of(site)) == "timed-out"
    assert studio.members("slow", "modeldir") == {"weights": b"half\n"}
    assert studio.record("slow")["status"] == "finished"
    assert studio.left() == 0


def test_a_failed_experiment_uploads_what_it_made_and_is_not_run_again(
    studio: StudioClient, new_host: Callable[..., Site], boxed: Callable[..., dict[str, Any]]
) -> None:
    site = new_host()
    results = {"_results": studio.artifact("experiments/fails/_results.tar", mutable=True)}
    studio.submit(boxed("fails", "echo half > ../modeldir/weights; exit 3", artifacts=results))
    site.until_empty()
    assert studio.members("fails", "modeldir") == {"weights": b"half\n"}
    assert not studio.exists("experiments/fails/_results.tar")
    assert site.state_of(sid_of(site)) == "failed"
    assert studio.left() == 0


def test_an_immutable_artifact_that_is_missing_fails_the_experiment_and_a_mutable_one_does_not(
    studio: StudioClient, new_host: Callable[..., Site], boxed: Callable[..., dict[str, Any]]
) -> None:
    site = new_host()
    studio.submit(boxed("lacks", "echo ran", artifacts={"data": studio.artifact("blobstore/none.tar", mutable=False)}))
    studio.submit(boxed("has", "ls ../extra; echo ran", artifacts={"extra": studio.artifact("none.tar", mutable=True)}))
    site.until_empty()
    assert "failed when downloading user data\n" in studio.log("lacks")
    assert "blobstore/none.tar" in studio.log("lacks")
    assert studio.log("has") == "ran\n"


def test_an_experiment_whose_lifetime_is_over_never_runs(
    studio: StudioClient, new_host: Callable[..., Site], boxed: Callable[..., dict[str, Any]]
) -> None:
    site = new_host()
    studio.submit(boxed("late", "echo ran", config={"experimentLifetime": "1s"}, time_added=1_700_000_000.0))
    site.until_empty()
    assert studio.record("late")["status"] == "finished"
    assert not studio.exists("experiments/late/output.tar")
    assert studio.left() == 0


def test_metadata_and_results_are_where_clients_look_for_them(
    studio: StudioClient, new_host: Callable[..., Site], boxed: Callable[..., dict[str, Any]]
) -> None:
    site = new_host()
    script = (
        'echo \'{"a": {"b": 1}}\'; echo \'[{"op": "add", "path": "/c", "value": 2}]\'; echo made > ../retval/retval'
    )
    results = {"_results": studio.artifact("experiments/meta/_results.tar", mutable=True)}
    studio.submit(boxed("meta", script, artifacts=results))
    site.until_empty()
    scraped = json.loads(studio.read(next(key for key in keys_below(studio, "metadata/scrape-host-"))))
    assert (scraped["a"], scraped["c"]) == ({"b": 1}, 2)
    assert scraped["studioml"]["experiment"]["key"] == "meta"
    assert studio.read(next(key for key in keys_below(studio, "metadata/output-host-"))).startswith(b'{"a"')
    found = json.loads(studio.members("meta", "_results")["_results.json"])
    assert (found["exit_msg"], found["experiment_id"]) == ("ok", "meta")
    assert "retval" in found["artifacts"]


def keys_below(studio: StudioClient, prefix: str) -> list[str]:
    """Return the keys of the bucket that begin like this."""
    found = studio.minio.client()._minio.list_objects(studio.bucket, prefix=prefix, recursive=True)
    return [each.object_name or "" for each in found]


def test_a_queue_that_its_client_deletes_ends_its_experiments(
    studio: StudioClient, new_host: Callable[..., Site], boxed: Callable[..., dict[str, Any]]
) -> None:
    site = new_host()
    studio.submit(boxed("deleted", RUNS_ON.replace("sleep 60", "sleep 110")))
    with site.agent():
        wait_until(lambda: studio.record("deleted")["status"] == "running", 30, "it runs")
        studio.delete()
        wait_until(lambda: studio.record("deleted")["status"] == "finished", 80, "it is over")
    assert studio.members("deleted", "modeldir") == {"weights": b"half\n"}


# --- sealed ----------------------------------------------------------------------------------------------------------


def test_a_sealed_and_signed_experiment_runs_and_its_client_reads_sealed_reports(
    studio: StudioClient, new_host: Callable[..., Site], boxed: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    keyring = Keyring()
    keyring.write(tmp_path / "keys", studio.queue)
    site = new_host(studioml=f'keys_dir = "{tmp_path / "keys"}"\nallow_clear_text = false')
    studio.listen()
    message = boxed("sealed", "echo one; echo '{\"loss\": 1}'; exit 4")
    studio.put("experiments/sealed", json.dumps(message["experiment"]).encode())
    studio.submit(json.dumps(keyring.sealed(message)).encode())
    studio.submit(boxed("clear", "echo ran"))
    site.until_empty()
    assert studio.log("sealed").startswith("one\n")
    assert not studio.exists("experiments/clear/output.tar")
    reports = [keyring.report(each) for each in studio.reports()]
    states = [each["progress"]["state"] for each in reports if "state" in each.get("progress", {})]
    assert list(dict.fromkeys(states)) == ["Started", "Failed"]
    assert {"loss": 1} in [
        json.loads(each["progress"]["json"]) for each in reports if "json" in each.get("progress", {})
    ]
    assert "one" in [each["logging"]["message"] for each in reports if "logging" in each]
    assert {each.get("experimentId") for each in reports} - {None} == {"sealed"}
