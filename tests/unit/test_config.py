from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from agent.cli.config import warnings
from agent.config import Config, Loaded, load_config
from agent.config.load import default_state_dir, settings
from agent.config.merge import Layer, merge
from agent.config.metrics import address_of
from agent.config.sections import directory_of
from agent.config.sources import variable_of
from agent.errors import ConfigError, InvalidInput
from agent.model import schema
from agent.model.units import parse_duration, parse_size

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOP = Path(__file__).parents[2]
DEFAULT_FILE = TOP / "packaging/root/etc/edge-agent/config.toml"
REFERENCE = TOP / "agent/docs/configuration.md"


def _load(
    tmp_path: Path,
    text: str = "",
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Loaded:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load_config(file, {"HOME": "/home/u", **(environ or {})}, flags or {})


def _error(tmp_path: Path, text: str = "", environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text, environ)
    assert caught.value.exit_code == 2
    return str(caught.value).replace(str(tmp_path), "DIR")


# --- what there is without any file -----------------------------------------------------------------------


def test_without_anything_written_there_is_one_private_queue_below_the_state_directory(
    tmp_path: Path,
) -> None:
    config = _load(tmp_path, flags={"agent.state_dir": "/data"}).config
    (queue,) = config.queues
    assert (queue.name, queue.lanes) == ("default", ("*",))
    assert queue.records_root == Path("/data/queues/default/queue")
    assert queue.results_root == Path("/data/queues/default/results")
    assert config.policy.image_prefixes == ()
    assert config.image_prefixes == ("file:///data/images",)


def test_the_state_directory_is_the_systems_for_root_and_its_owner_and_the_users_own_for_others() -> None:
    assert default_state_dir({"XDG_STATE_HOME": "/x"}, 0) == "/var/lib/edge-agent"
    assert default_state_dir({"XDG_STATE_HOME": "/x"}, 1000) == "/x/edge-agent"
    assert default_state_dir({"XDG_STATE_HOME": "/x"}, 1000, 1000) == "/var/lib/edge-agent"
    assert default_state_dir({"HOME": "/home/u"}, 1000, 0) == "/home/u/.local/state/edge-agent"


# --- layers -----------------------------------------------------------------------------------------------


def test_each_layer_is_stronger_than_the_one_before_and_every_value_knows_its_origin(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/20-b.toml").write_text("[labels]\nb = '20'\n[retry]\nfirst = 3\n")
    (tmp_path / "conf.d/10-a.toml").write_text("[labels]\na = '10'\nb = '10'\n")
    (tmp_path / "conf.d/ignored.txt").write_text("not toml")
    loaded = _load(
        tmp_path,
        "[agent]\nid = 'file'\nworkers = 2\nlog_level = 'debug'\n[labels]\na = 'file'\nc = 'file'\n",
        {"EDGE_AGENT_AGENT__WORKERS": "3", "EDGE_AGENT_AGENT__LOG_LEVEL": "error"},
        {"agent.log_level": "warning", "agent.state_dir": None},
    )
    config, origins = loaded.config, {k: v.replace(str(tmp_path), "DIR") for k, v in loaded.origins.items()}
    assert config.labels == {"a": "10", "b": "20", "c": "file"}
    assert (config.agent.id, config.agent.workers, config.agent.log_level) == ("file", 3, "warning")
    assert origins["agent.id"] == "DIR/config.toml:2"
    assert origins["labels.a"] == "DIR/conf.d/10-a.toml:2"
    assert origins["labels.b"] == "DIR/conf.d/20-b.toml:2"
    assert origins["labels.c"] == "DIR/config.toml:7"
    assert origins["retry.first"] == "DIR/conf.d/20-b.toml:4"
    assert origins["agent.workers"] == "EDGE_AGENT_AGENT__WORKERS"
    assert origins["agent.log_level"] == "--log-level"
    assert origins["agent.state_dir"] == "default"
    assert set(origins) == {key for key, _ in settings(config)}


def test_an_array_is_replaced_as_a_whole_with_its_origins() -> None:
    below = Layer({"q": [{"a": 1}, {"a": 2}], "t": {"x": 1}}, {"q": "1", "q[0].a": "1", "q[1].a": "1", "t.x": "1"})
    above = Layer({"q": [{"b": 3}], "t": {"y": 2}}, {"q": "2", "q[0].b": "2", "t.y": "2"})
    assert merge(below, above) == Layer(
        {"q": [{"b": 3}], "t": {"x": 1, "y": 2}}, {"q": "2", "q[0].b": "2", "t.x": "1", "t.y": "2"}
    )


def test_the_variable_edge_agent_config_names_the_file_and_a_flag_overrides_it(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text("[agent]\nid = 'one'\n")
    two.write_text("[agent]\nid = 'two'\n")
    assert load_config(None, {"EDGE_AGENT_CONFIG": str(one)}, {}).config.agent.id == "one"
    assert load_config(two, {"EDGE_AGENT_CONFIG": str(one)}, {}).config.agent.id == "two"
    assert load_config(two, {}, {}).files == (str(two),)


# --- variables --------------------------------------------------------------------------------------------


def test_variables_are_read_by_the_type_of_their_key(tmp_path: Path) -> None:
    environ = {
        "EDGE_AGENT_AGENT__ID": "007",
        "EDGE_AGENT_RESOURCES__CPUS": "1.5",
        "EDGE_AGENT_RESOURCES__MEMORY": "2GiB",
        "EDGE_AGENT_RESOURCES__DISK": "4096",
        "EDGE_AGENT_RETRY__FIRST": "3",
        "EDGE_AGENT_RETRY__MAX": "1h",
        "EDGE_AGENT_POLICY__NETWORK_HOST": "true",
        "EDGE_AGENT_POLICY__INPUT_PREFIXES": '["file:///srv/"]',
        "EDGE_AGENT_LABELS__RACK": "7",
        "EDGE_AGENT_QUEUES": '[{name = "lab", url = "/srv/lab"}]',
        "EDGE_AGENT_AGENT__WORKERS": "",
    }
    loaded = _load(tmp_path, "", environ)
    config = loaded.config
    assert config.agent.id == "007"
    assert (config.resources.cpus, config.resources.memory, config.resources.disk) == (1.5, 2 * 1024**3, 4096)
    assert (config.retry.first, config.retry.max) == (3.0, 3600.0)
    assert config.policy.network_host is True
    assert config.policy.input_prefixes == ("file:///srv/",)
    assert config.labels == {"rack": "7"}
    assert config.queues[0].name == "lab"
    assert config.agent.workers is None
    assert loaded.origins["queues[0].url"] == "EDGE_AGENT_QUEUES"
    assert loaded.origins["queues[0].lease"] == "default"
    assert loaded.origins["labels.rack"] == "EDGE_AGENT_LABELS__RACK"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "EDGE_AGENT_RESOURCE__CPUS",
            "1",
            'environment: unknown variable "EDGE_AGENT_RESOURCE__CPUS" (did you mean "EDGE_AGENT_RESOURCES__CPUS"?)',
        ),
        (
            "EDGE_AGENT_ZZZZZZZZ",
            "",
            'environment: unknown variable "EDGE_AGENT_ZZZZZZZZ" (EDGE_AGENT_<SECTION>__<KEY>',
        ),
        (
            "EDGE_AGENT_RESOURCES__CPUS",
            "many",
            "EDGE_AGENT_RESOURCES__CPUS: resources.cpus = 'many': Expected float",
        ),
        ("EDGE_AGENT_QUEUES", '[{name = "x"}]', "EDGE_AGENT_QUEUES: queues[0]: missing required field url"),
        (
            "EDGE_AGENT_AGENT__LOG_LEVEL",
            "loud",
            "EDGE_AGENT_AGENT__LOG_LEVEL: agent.log_level = 'loud': Invalid",
        ),
    ],
)
def test_a_wrong_variable_is_named_with_its_value(tmp_path: Path, name: str, value: str, message: str) -> None:
    assert _error(tmp_path, "", {name: value}).startswith(message)


# --- errors in files --------------------------------------------------------------------------------------

LAB = '[[queues]]\nname = "a"\nurl = "/q"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[agent]\nstat_dir = '/x'",
            'DIR/config.toml:2: unknown key "agent.stat_dir" (did you mean "state_dir"?)',
        ),
        ("[agnet]\nid = 'x'", 'DIR/config.toml:1: unknown key "agnet" (did you mean "agent"?)'),
        ("agent.workers = 0", "DIR/config.toml:1: agent.workers = 0: Expected int >= 1"),
        ("[agent]\n\nworkers = 'x'", "DIR/config.toml:3: agent.workers = 'x': Expected int | null, got str"),
        ("[resources]\nmemory = '5 apples'", 'DIR/config.toml:2: resources.memory: "5 apples" is not a size'),
        ("[resources]\ngpus = ['X', 'all']", 'DIR/config.toml:2: resources.gpus[1] = "all" stands beside other GPUs'),
        ("[resources]\ngpus = ['GPU 1']", 'DIR/config.toml:2: resources.gpus[0] = "GPU 1" is no UUID of a GPU'),
        ("[retry]\nfirst = 'soon'", 'DIR/config.toml:2: retry.first: "soon" is not a duration'),
        ("[retry]\nfirst = inf", "DIR/config.toml:2: retry.first = inf (a finite number)"),
        ("[retry]\nfirst = '20m'", "DIR/config.toml:1: retry.max = 600.0 (at least retry.first, 1200 s)"),
        ("[agent]\nstate_dir = 'x'", 'DIR/config.toml:2: agent.state_dir = "x" (an absolute path)'),
        ("[agent]\nid = 'a b'", 'DIR/config.toml:2: agent.id = "a b" (letters'),
        ("labels = 7", "DIR/config.toml:1: labels = 7: Expected object, got int"),
        (
            "runtime = {emulate = ['arm46']}",
            'DIR/config.toml:1: runtime.emulate[0] = "arm46" (did you mean "arm64"?)',
        ),
        ("[runtime]\nemulate = [\n'arm64',\n'arm46']", 'DIR/config.toml:4: runtime.emulate[1] = "arm46"'),
        ("[runtime]\npath = 'apptainer'", 'DIR/config.toml:2: runtime.path = "apptainer" (an absolute path)'),
        (
            "[policy]\ninput_prefixes = ['/srv']",
            'DIR/config.toml:2: policy.input_prefixes[0] = "/srv" (a URI',
        ),
        ("[[queues]]\nname = 'a'", "DIR/config.toml:1: queues[0]: missing required field url"),
        (LAB + "lease = 0", "DIR/config.toml:4: queues[0].lease = 0: Expected float > 0"),
        (LAB + LAB, 'DIR/config.toml:5: queues[1].name = "a" (another queue has this name)'),
        (
            LAB + LAB.replace('"a"', '"b"'),
            'DIR/config.toml:6: queues[1].url = "/q" (another queue has this url)',
        ),
        (LAB + "lanes = ['arm64']", 'DIR/config.toml:4: queues[0].lanes[0] = "arm64" (did you mean "arm64-'),
        (LAB + "lanes = ['*', 'any-none']", 'DIR/config.toml:4: queues[0].lanes[0] = "*"'),
        (
            LAB + "results = '/q/queue'",
            'DIR/config.toml:4: queues[0].results = "/q/queue" (a directory apart',
        ),
        (LAB + "results = '/q'", 'DIR/config.toml:4: queues[0].results = "/q" (a directory apart'),
        (
            LAB.replace("/q", "kafka://x"),
            'DIR/config.toml:3: queues[0].url = "kafka://x": scheme "kafka" is not known',
        ),
        (LAB.replace("/q", "q"), 'DIR/config.toml:3: queues[0].url = "q": "q" is not an absolute path'),
        (LAB.replace('"a"', '"A b"'), 'DIR/config.toml:2: queues[0].name = "A b" (lower-case'),
        (
            "[policy.secrets]\n2X = {env = 'A'}",
            "DIR/config.toml:2: policy.secrets.2X: not a name of a variable",
        ),
        ("[policy.secrets]\nX = {}", "DIR/config.toml:2: policy.secrets.X: names no source or two"),
        ("[agent]\nid = ", "DIR/config.toml:2: not valid TOML"),
        ("[agent]\nid = 'a'\nid = 'b'", "DIR/config.toml:3: not valid TOML"),
    ],
)
def test_an_error_names_file_line_key_and_what_would_be_right(tmp_path: Path, text: str, message: str) -> None:
    assert _error(tmp_path, text).startswith(message)


def test_an_error_in_conf_d_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/a.toml").write_text("\n[retry]\nmaximum = 1\n")
    assert _error(tmp_path).startswith('DIR/conf.d/a.toml:3: unknown key "retry.maximum"')


@pytest.mark.parametrize("written", ["'hunter2'", "{file = 'hunter2'}", "{file = 5, env = 'hunter2'}"])
def test_a_secret_in_the_wrong_place_is_not_printed(tmp_path: Path, written: str) -> None:
    message = _error(tmp_path, f"[policy.secrets]\nTOKEN = {written}")
    assert re.match(r"DIR/config\.toml:\d: policy\.secrets", message)
    assert "hunter2" not in message


def test_a_file_that_is_named_must_be_there_and_be_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read: no such file.*--config"):
        load_config(tmp_path / "gone.toml", {}, {})
    with pytest.raises(ConfigError, match="cannot be read: is a directory"):
        load_config(tmp_path, {}, {})
    (tmp_path / "binary.toml").write_bytes(b"\n\n\xff")
    with pytest.raises(ConfigError, match=r"binary\.toml:3: not UTF-8 text"):
        load_config(tmp_path / "binary.toml", {}, {})


# --- queues -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/srv/q", "/srv/q"),
        ("file:///srv/q", "/srv/q"),
        ("file:///srv/a%20b", "/srv/a b"),
        ("file://localhost/srv/q", "/srv/q"),
        ("/srv/a%20b:c", "/srv/a%20b:c"),
    ],
)
def test_a_directory_is_a_file_url_or_a_plain_absolute_path(url: str, path: str) -> None:
    assert directory_of(url) == Path(path)


@pytest.mark.parametrize(
    "url", ["", "srv", "file://host/srv", "file:srv", "/srv/../etc", "s3://b", "file:///a?b", "~/q"]
)
def test_everything_else_is_no_directory(url: str) -> None:
    with pytest.raises(InvalidInput):
        directory_of(url)


def test_a_queue_is_found_by_name_or_the_nearest_one_named(tmp_path: Path) -> None:
    config = _load(tmp_path, LAB.replace('"a"', '"lab"') + 'results = "/r"').config
    assert config.queue("lab").results_root == Path("/r")
    with pytest.raises(InvalidInput, match=r'no queue "lap" is configured \(did you mean "lab"'):
        config.queue("lap")


STUDIO = '[[queues]]\nname = "studio"\nurl = "pubsub://lab-1/*"\n'


@pytest.mark.parametrize("url", ["pubsub://lab-1/*", "pubsub://lab-1/exp_sub?plain"])
def test_a_queue_of_clients_may_do_without_a_results_store(tmp_path: Path, url: str) -> None:
    loaded = _load(tmp_path, f'agent.state_dir = "/data"\n{STUDIO}'.replace("pubsub://lab-1/*", url))
    (queue,) = loaded.config.queues
    assert queue.results_root == Path("/data/results/studio")
    assert loaded.origins["queues[0].results"] == "default"
    assert loaded.config.alone(queue) == (
        "/data/results/studio is on this host alone: no other one sees the attempts and commits of queue studio"
    )


@pytest.mark.parametrize("results", ["/srv/results", "s3://bucket/results", "file:///database/results"])
def test_results_that_others_reach_are_nothing_to_warn_of(tmp_path: Path, results: str) -> None:
    loaded = _load(tmp_path, f'agent.state_dir = "/data"\n{STUDIO}results = "{results}"')
    assert loaded.config.alone(loaded.config.queues[0]) is None


def test_a_queue_for_this_host_alone_is_nothing_to_warn_of(tmp_path: Path) -> None:
    config = _load(tmp_path).config
    assert config.alone(config.queues[0]) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            STUDIO + "match = '('",
            'DIR/config.toml:4: queues[0].match = "(" (a regular expression; this one is none: missing )',
        ),
        (STUDIO + "\nmismatch = '*'", 'DIR/config.toml:5: queues[0].mismatch = "*" (a regular expression; this'),
        (STUDIO + "match = 'a{99999999999999999999}'", 'DIR/config.toml:4: queues[0].match = "a{'),
        (STUDIO + "match = 7", "DIR/config.toml:4: queues[0].match = 7: Expected str | null"),
        (LAB + "match = 'a'", 'DIR/config.toml:4: queues[0].match = "a" (only with the url of a project'),
        (
            STUDIO.replace("/*", "/exp?plain") + "mismatch = 'a'",
            'DIR/config.toml:4: queues[0].mismatch = "a" (only with the url of a project',
        ),
        (STUDIO.replace("/*", "/*?plain"), 'DIR/config.toml:3: queues[0].url = "pubsub://lab-1/*?plain": "pubsub'),
        (STUDIO.replace("lab-1", "L"), 'DIR/config.toml:3: queues[0].url = "pubsub://L/*": "L" is no project id'),
        (STUDIO.replace("/*", "/jobs"), "DIR/config.toml:1: queues[0].results is not set (a queue with lanes needs"),
        (STUDIO + "results = 'kafka://x'", 'DIR/config.toml:4: queues[0].results = "kafka://x": scheme "kafka"'),
        (STUDIO + "lease = '5s'", "DIR/config.toml:4: queues[0].lease = 5.0 (10 to 600 seconds"),
        (
            STUDIO + STUDIO.replace('"studio"', '"again"'),
            'DIR/config.toml:6: queues[1].url = "pubsub://lab-1/*" (another queue has this url)',
        ),
    ],
)
def test_an_error_about_a_project_names_what_would_be_right(tmp_path: Path, text: str, message: str) -> None:
    assert _error(tmp_path, text).startswith(message)


# --- the default file and the reference -------------------------------------------------------------------


def _all_keys(config: Config) -> dict[str, Any]:
    """Every key that can be written, with its default (None = not set or required)."""
    keys = dict(settings(config))
    for name in [name for name in keys if name.startswith("queues[0].")]:
        keys["queues." + name.removeprefix("queues[0].")] = keys.pop(name)
    return {**keys, "queues.name": None, "queues.url": None, "queues.lanes": ()}


def _uncommented() -> str:
    return re.sub(r"(?m)^#(?=\S)", "", DEFAULT_FILE.read_text())


def test_a_lease_is_longer_where_a_second_run_costs_more(tmp_path: Path) -> None:
    urls = {"/q": 120.0, "pubsub://lab-1/jobs": 120.0, "pubsub://lab-1/exp_sub?plain": 240.0, "pubsub://lab-1/*": 240.0}
    for url, seconds in urls.items():
        queue = f'[[queues]]\nname = "a"\nurl = "{url}"\nresults = "/srv/results"\n'
        assert _load(tmp_path, queue).config.queues[0].held_for == seconds
        assert _load(tmp_path, f'{queue}lease = "30s"\n').config.queues[0].held_for == 30.0


def _written_keys(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        here = schema.join(path, key)
        if here in ("labels", "policy.secrets", "policy.signers", "studioml.environment"):
            found[here] = None
        elif isinstance(value, dict):
            found.update(_written_keys(value, here))
        elif here == "queues":
            for queue in value:
                found.update(_written_keys(queue, here))
        else:
            found[here] = value
    return found


def test_the_default_file_is_valid_as_it_is_and_changes_nothing() -> None:
    assert load_config(DEFAULT_FILE, {}, {}).config == load_config(Path("/dev/null"), {}, {}).config


def test_the_default_file_is_valid_with_every_key_uncommented(tmp_path: Path) -> None:
    config = _load(tmp_path, _uncommented()).config
    assert config.queues[0].name == "lab"
    assert config.policy.secrets["API_TOKEN"].file == "/etc/edge-agent/secrets/api-token"


def test_the_default_file_names_exactly_the_keys_there_are_with_their_defaults(tmp_path: Path) -> None:
    defaults = _all_keys(load_config(Path("/dev/null"), {}, {"agent.state_dir": "/var/lib/edge-agent"}).config)
    written = _written_keys(tomllib.loads(_uncommented()))
    assert set(written) == set(defaults)
    for key, default in defaults.items():
        if default not in (None, {}):
            assert _same(written[key], default), key


def _same(written: Any, default: Any) -> bool:
    """Compare a value as it is written in a file with the default as it is kept."""
    if isinstance(written, str) and isinstance(default, (int, float)):
        read = parse_duration if isinstance(default, float) else parse_size
        return bool(read(written) == default)
    return bool(tuple(written) == default if isinstance(default, tuple) else written == default)


def test_the_reference_names_exactly_the_keys_there_are_with_their_defaults() -> None:
    defaults = _all_keys(load_config(Path("/dev/null"), {}, {"agent.state_dir": "/var/lib/edge-agent"}).config)
    rows = dict(re.findall(r"(?m)^\| `([a-z0-9_.]+)` \| (\S+) \|", REFERENCE.read_text()))
    assert set(rows) == set(defaults)
    for key, default in defaults.items():
        shown = rows[key]
        if default in (None, {}):
            assert shown == "-", key
        else:
            assert _same(tomllib.loads(f"x = {shown.strip('`')}")["x"], default), key


def test_the_variables_of_all_keys_are_different_from_each_other() -> None:
    keys = _all_keys(load_config(Path("/dev/null"), {}, {}).config)
    assert len({variable_of(key) for key in keys}) == len(keys)


def test_the_configuration_cannot_be_changed_after_loading(tmp_path: Path) -> None:
    config = _load(tmp_path).config
    with pytest.raises(AttributeError):
        config.agent.workers = 2  # type: ignore[misc]
    assert msgspec.structs.replace(config.agent, workers=2).workers == 2


# --- signers, credentials ---------------------------------------------------


LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3cmQhFxyMr alice"


def test_signers_are_named_with_their_keys_and_queues(tmp_path: Path) -> None:
    text = f"[policy.signers]\nalice = {{key = '{LINE}', queues = ['default']}}\nbob = {{file = '/b.pub'}}\n"
    signers = _load(tmp_path, text).config.policy.signers
    assert (signers["alice"].key, signers["alice"].queues, signers["bob"].file) == (LINE, ("default",), "/b.pub")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[policy.signers]\na = {}", "DIR/config.toml:2: policy.signers.a: names no key or two"),
        ("[policy.signers]\na = {file = 'a.pub'}", 'policy.signers.a.file = "a.pub" (an absolute path)'),
        ("[policy.signers]\na = {key = 'ssh-rsa AAAA'}", "policy.signers.a.key: no Ed25519 public key of OpenSSH"),
        (
            f"[policy.signers]\na = {{key = '{LINE}', queues = ['defualt']}}",
            'policy.signers.a.queues[0] = "defualt" (did you mean "default"?)',
        ),
        ("[submit]\nsign_key_file = 'key'", 'submit.sign_key_file = "key" (an absolute path)'),
        ("[policy]\nmax_cpus = 0", "DIR/config.toml:2: policy.max_cpus = 0"),
        ("[policy]\nmax_gpus = -1", "DIR/config.toml:2: policy.max_gpus = -1"),
        ("[images]\nsignatures = 'on'", "DIR/config.toml:2: images.signatures = 'on'"),
        ("[images]\nsignatures = 'require'", 'DIR/config.toml:2: images.signatures = "require" (with it images.keys'),
        ("[images]\nkeys_dir = 'keys'", 'DIR/config.toml:2: images.keys_dir = "keys" (an absolute path)'),
        ("[mqtt]\npassword_file = 'credential:../x'", "DIR/config.toml:2: mqtt.password_file"),
        ("[policy.secrets]\nX = {credential = 'a/b'}", "DIR/config.toml:2: policy.secrets"),
        ("[policy.secrets]\nX = {credential = 'a', env = 'B'}", "policy.secrets.X: names no source or two"),
    ],
)
def test_a_wrong_rule_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    assert message in _error(tmp_path, text)


def test_a_credential_of_the_service_is_found_wherever_a_file_is_named(tmp_path: Path) -> None:
    text = """
    [mqtt]
    password_file = "credential:mqtt-password"
    [s3]
    access_key = "edge"
    secret_key_file = "credential:s3.key"
    [policy.signers]
    alice = {file = "credential:alice.pub"}
    [labels]
    file = "/srv/x"
    """
    config = _load(tmp_path, text, {"CREDENTIALS_DIRECTORY": "/run/credentials/x"}).config
    assert config.mqtt.password_file == "/run/credentials/x/mqtt-password"
    assert config.s3.secret_key_file == "/run/credentials/x/s3.key"
    assert config.policy.signers["alice"].file == "/run/credentials/x/alice.pub"
    # A shell is not the service: what is shown there is what the service will read.
    assert _load(tmp_path, text).config.mqtt.password_file == "/run/credentials/edge-agent.service/mqtt-password"


# --- metrics ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["9469", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "http://127.0.0.1:1", ":1"])
def test_an_address_where_nobody_can_listen_is_refused(tmp_path: Path, listen: str) -> None:
    assert 'DIR/config.toml:2: metrics.listen = "' in _error(tmp_path, f'[metrics]\nlisten = "{listen}"\n')


@pytest.mark.parametrize(
    ("listen", "address", "warned"),
    [
        ("127.0.0.1:9469", ("127.0.0.1", 9469), False),
        ("localhost:1", ("localhost", 1), False),
        ("[::1]:65535", ("::1", 65535), False),
        ("192.0.2.7:9469", ("192.0.2.7", 9469), True),
        ("[::]:9469", ("::", 9469), True),
    ],
)
def test_an_address_that_others_reach_is_warned_of(
    tmp_path: Path, listen: str, address: tuple[str, int], warned: bool
) -> None:
    config = _load(tmp_path, f'[agent]\nstate_dir = "{tmp_path}"\n[metrics]\nlisten = "{listen}"\n').config
    assert address_of(listen) == address
    assert any("metrics.listen" in warning for warning in warnings(config)) == warned
