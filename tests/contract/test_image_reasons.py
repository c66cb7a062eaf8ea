"""What people read when an image cannot be run: each kind of fault has a sentence of its own."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from agent.config import Config
from agent.config.policy import PolicySection
from agent.config.sections import AgentSection, ImagesSection
from agent.errors import EdgeAgentError, JobFault, StoreUnavailable
from agent.matching import MatchPolicy, match
from agent.model.capabilities import Capabilities, CpuFacts, RuntimeFacts
from agent.model.job import Image, parse_job
from agent.model.share import Share
from agent.ports import ImageFetcher
from agent.wiring.artifacts import access_of, cache_of, images_of

from tests.fakes import FakeClock
from tests.oci import Repository
from tests.servers import Registry, free_port
from tests.siffile import Part, sif_bytes, write_sif
from tests.workshop import Workshop

HOST = Capabilities(cpu=CpuFacts(arch="amd64"), runtime=RuntimeFacts(name="apptainer", archs=("amd64",)))
SHARE = Share(8.0, 2**30, 2**30)
GIB = 1024**3


class Place(NamedTuple):
    """Where images of a test lie: a folder, a repository of a registry, and the workshop of signed ones."""

    folder: Path
    repository: Repository
    registry: str
    workshop: Workshop

    def pushed(self, content: bytes) -> Image:
        self.repository.push_sif("1", content)
        return Image(f"oras://{self.registry}/{self.repository.path}:1")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def place(tmp_path: Path, registry: Registry, workshop: Workshop) -> Place:
    return Place(tmp_path, Repository(registry.url, f"sif-{secrets.token_hex(6)}"), registry.host, workshop)


def wired(place: Place, signatures: str = "off") -> ImageFetcher:
    """Return the images of a host with this rule, as an agent has them."""
    config = Config(
        agent=AgentSection(state_dir=str(place.folder / "state")),
        images=ImagesSection(signatures, str(place.workshop.keys("own.pem"))),  # type: ignore[arg-type]
        policy=PolicySection(image_prefixes=("file:///", "oras://")),
    )
    clock = FakeClock()
    access = access_of(config, lambda: pytest.fail("no S3 here"))
    return images_of(config, access, cache_of(config, 100 * GIB, clock), lambda: HOST, clock)


def said_before(images: ImageFetcher, image: Image) -> str:
    """Return what a job is told that is not taken for its image."""
    job = parse_job({"image": image.uri})
    policy = MatchPolicy(image_prefixes=("file:///", "oras://"))
    (refusal,) = match(job, HOST, SHARE, SHARE, {"amd64": images.facts(image)}, policy).refusals
    return str(refusal)


def said_at_fetch(images: ImageFetcher, image: Image, kind: type[EdgeAgentError] = JobFault) -> str:
    with pytest.raises(kind) as caught:
        images.fetch(image)
    return str(caught.value)


def down(place: Place) -> tuple[str, str]:
    uri = f"oras://127.0.0.1:{free_port()}/team/tool:1"
    words = "no connection (Connection refused); check the address, the network and that the server runs"
    said = said_at_fetch(wired(place), Image(uri), StoreUnavailable)
    return said.replace("[Errno 111] ", ""), f"{uri}: {words}"


def other_arch(place: Place) -> tuple[str, str]:
    image = place.pushed(sif_bytes(Part("arm64")))
    want = f"architecture: needs a host that runs arm64, which {image.uri} is for, has amd64"
    return said_before(wired(place), image), want


def truncated(place: Place) -> tuple[str, str]:
    content = sif_bytes(Part(content=bytes(5000)))
    image = Image(write_sif(place.folder / "cut.sif").as_uri())
    (place.folder / "cut.sif").write_bytes(content[:-1000])
    want = f"image-unusable: needs image {image.uri}, has a truncated SIF file: "
    return said_before(wired(place), image), f"{want}{len(content) - 1000} bytes, its header speaks of {len(content)}"


def tampered(place: Place) -> tuple[str, str]:
    image = place.pushed(sif_bytes(Part()))
    found = hashlib.sha256(sif_bytes(Part())).hexdigest()
    want = f"image {image.uri}: its SHA-256 is {found}, not {'0' * 64}"
    return said_at_fetch(wired(place), Image(image.uri, "0" * 64)), want


def with_overlay(place: Place) -> tuple[str, str]:
    image = place.pushed(place.workshop.with_overlay("1").read_bytes())
    want = "an overlay partition, which changes what is run; allow it: [policy] image_overlay = true"
    return said_before(wired(place), image), f"image-unusable: needs image {image.uri}, has it has {want}"


def badly_signed(place: Place) -> tuple[str, str]:
    image = place.pushed(place.workshop.changed().read_bytes())
    want = 'it was changed after it was signed, and [images] signatures = "require" wants a valid signature'
    return said_at_fetch(wired(place, "require"), image), f"image {image.uri}: {want}"


def unsigned(place: Place) -> tuple[str, str]:
    image = Image(Path(shutil.copy(place.workshop.bare, place.folder / "bare.sif")).as_uri())
    want = 'it is not signed, and [images] signatures = "require" wants a valid signature'
    return said_at_fetch(wired(place, "require"), image), f"image {image.uri}: {want}"


def signed_by_nobody(place: Place) -> tuple[str, str]:
    image = place.pushed(place.workshop.sign(place.workshop.bare, "other", "strange.sif").read_bytes())
    keys = place.workshop.keys("own.pem")
    want = f'by none of the keys in {keys}, and [images] signatures = "require" wants a valid signature'
    return said_at_fetch(wired(place, "require"), image), f"image {image.uri}: it is signed, and {want}"


@pytest.mark.parametrize(
    "case",
    [down, other_arch, truncated, tampered, with_overlay, badly_signed, unsigned, signed_by_nobody],
    ids=lambda case: case.__name__,
)
def test_each_fault_of_an_image_has_its_own_sentence(case: Callable[[Place], tuple[str, str]], place: Place) -> None:
    said, wanted = case(place)
    assert said == wanted


def test_a_signed_image_runs_by_every_rule(place: Place) -> None:
    image = place.pushed(place.workshop.signed.read_bytes())
    for rule in ("off", "warn", "require"):
        assert wired(place, rule).fetch(image).read_bytes() == place.workshop.signed.read_bytes()
