"""The Gpus port: what this host's files say of a GPU job's nodes and libraries, checked against what is there.

In this order: specifications for containers (CDI), on a Jetson the lists of NVIDIA's runtime, on WSL 2 its own files,
else the nodes by what NVML says and the libraries that the host's loader knows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import reduce
from typing import Any

from agent.errors import HostFault, InvalidInput
from agent.gpu import cdi, csv, ldcache, tables
from agent.gpu.edits import Edits, library, library_name, visible
from agent.gpu.units import CAPABILITY_NODES, Place, own_nodes, parse_access, places
from agent.model.run import NO_DEVICES, Devices, Mount
from agent.ports import Host
from agent.probes import driver, jetson
from agent.probes.gpu_methods import CDI_FOLDERS
from agent.probes.host import read_text

log = logging.getLogger(__name__)

_CSV_FOLDER = "/etc/nvidia-container-runtime/host-files-for-container.d"
_RIGHTS = "see its rights, and the device limits of the agent's cgroup"
_LISTS = "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"


class HostGpus:
    """See ports.Gpus."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._told: set[str] = set()

    def grant(self, units: Sequence[str]) -> Devices:
        """See ports.Gpus."""
        if not units:
            return NO_DEVICES
        edits = self._edits(units)
        self._check(edits, ", ".join(units))
        facts = tuple(Mount(path, path) for path in tables.FACTS if self._exists(path))
        return edits.plus(Edits((), facts, visible(units))).devices()

    def _check(self, edits: Edits, units: str) -> None:
        """Raise HostFault for what is not there or closed: the runtime leaves it out without a word."""
        missing = [path for path in _paths(edits) if not self._exists(path)]
        if missing:
            raise HostFault(f"GPU {units}: {missing[0]} is not there; {_remedy(missing[0])}")
        needed = {*own_nodes(edits.nodes), *tables.NEEDED_NODES}.intersection(edits.nodes)
        closed = sorted(needed.intersection(self._host.query("denied-nodes") or ()))
        shut = [node for node in closed if not _is_for_reading(node)]
        if shut:
            raise HostFault(f"GPU {units}: the agent's user may not open {shut[0]}; {_RIGHTS}")

    def _edits(self, units: Sequence[str]) -> Edits:
        # The specifications need no answer of NVML on machines with one GPU of their own and on WSL 2.
        whole = self._of_whole_machine(units)
        if whole is not None:
            return whole
        found = self._places(units)
        listed = self._of_specifications({unit: self._own_nodes(unit, found[unit]) for unit in units})
        return listed or self._of_tables(units, found)

    # --- one GPU that is the machine's -------------------------------------------------------------------------------

    def _of_whole_machine(self, units: Sequence[str]) -> Edits | None:
        """Return what binds the GPU of WSL 2 or of a Jetson; None for GPUs that have nodes of their own."""
        if driver.is_wsl(self._host):
            files = (f"{tables.WSL_LIBRARIES}/{name}" for name in self._host.list(tables.WSL_LIBRARIES))
            return tables.of_wsl(files, filter(self._exists, (tables.WSL_DRIVERS,)))
        if jetson.board(self._host) is None or self._is_card(units):
            return None
        edits = self._of_specifications(dict.fromkeys(units, frozenset())) or self._of_lists()
        if not edits.nodes:
            raise HostFault(f"this Jetson has no list of its GPU's files; install nvidia-container-toolkit, {_LISTS}")
        return edits

    def _is_card(self, units: Sequence[str]) -> bool:
        """Say whether one of the units is a card's: a Thor may have one beside its own GPU."""
        cards = (gpu for gpu in driver.driver_gpus(self._host) if "Thor" not in (gpu.name or ""))
        return any(gpu.uuid in units for gpu in cards)

    def _of_lists(self) -> Edits:
        texts = (read_text(self._host, f"{_CSV_FOLDER}/{name}") for name in self._host.list(_CSV_FOLDER))
        entries = [entry for text in texts for entry in csv.parse_csv(text or "")]
        # The lists name what some release or board has; what this one has not is left out.
        found = [csv.Entry(entry.kind, path) for entry in entries for path in self._matches(entry.path)]
        nodes = tuple(entry.path for entry in found if entry.kind == "dev")
        mounts = (mount for entry in found if entry.kind != "dev" for mount in _listed(entry.path))
        return Edits(nodes, tuple(mounts))

    def _matches(self, pattern: str) -> tuple[str, ...]:
        folder, _, last = pattern.rpartition("/")
        return tuple(f"{folder}/{name}" for name in self._host.list(folder or "/") if fnmatchcase(name, last))

    # --- specifications ----------------------------------------------------------------------------------------------

    def _of_specifications(self, wanted: dict[str, frozenset[str]]) -> Edits | None:
        found = list(self._specifications())
        parts = [cdi.edits_of(found, unit, nodes) for unit, nodes in wanted.items()]
        whole = [part for part in parts if part is not None]
        if not found or len(whole) < len(parts):
            if found:
                self._tell("the specifications (CDI) do not have the granted GPU, write them anew", ", ".join(wanted))
            return None
        edits = reduce(Edits.plus, whole)
        absent = [path for path in _paths(edits) if not self._exists(path)]
        if absent:
            self._tell("the specification (CDI) names files that are not there, write it anew", absent[0])
            return None
        return Edits(edits.nodes, tuple(self._findable(edits.mounts)), edits.env)

    def _specifications(self) -> Iterator[cdi.Specification]:
        # What was generated at this start of the host (/var/run) is newer than what an administrator left.
        for folder in reversed(CDI_FOLDERS):
            for name in self._host.list(folder):
                path = f"{folder}/{name}"
                text = read_text(self._host, path)
                if text is None or not name.endswith((".json", ".yaml", ".yml")) or cdi.KIND not in text:
                    continue
                try:
                    specification = cdi.parse_specification(text, name.endswith(".json"))
                except InvalidInput as error:
                    self._tell("a specification (CDI) cannot be used", f"{path}: {error}")
                    continue
                if specification.kind == cdi.KIND:
                    yield specification

    def _findable(self, mounts: Iterable[Mount]) -> Iterator[Mount]:
        """Yield the mounts, libraries where programs find them: no table of libraries is made in the container."""
        known = self._libraries()
        for mount in mounts:
            name = library_name(mount.source)
            yield from [mount] if name is None else library(mount.source, tables.names_of(name, known))

    # --- tables ------------------------------------------------------------------------------------------------------

    def _of_tables(self, units: Sequence[str], found: dict[str, Place]) -> Edits:
        own = [node for unit in units for node in sorted(self._own_nodes(unit, found[unit]))]
        others = [node for node in tables.OTHER_NODES if self._exists(node)]
        libraries = tables.driver_libraries(self._libraries())
        if not libraries:
            raise HostFault(f"the loader knows no library of NVIDIA's driver; run ldconfig as root, or {_LISTS}")
        return Edits((*own, *tables.NEEDED_NODES, *others), libraries)

    def _libraries(self) -> tuple[ldcache.Library, ...]:
        return ldcache.parse_ldcache(self._host.read(ldcache.PATH) or b"", self._host.query("uname-m") or "")

    def _places(self, units: Sequence[str]) -> dict[str, Place]:
        modules = driver.driver_gpus(self._host)
        minors = {gpu.uuid: gpu.minor for gpu in modules if gpu.uuid is not None and gpu.minor is not None}
        found = {unit: Place(minors[unit]) for unit in units if unit in minors}
        if len(found) < len(units):
            answer: Any = self._host.query("nvml")
            found = places(answer, minors)
        unknown = [unit for unit in units if unit not in found]
        if unknown:
            raise HostFault(f"the driver does not say which node GPU {unknown[0]} has; see `edge-agent probe`")
        return found

    def _own_nodes(self, unit: str, place: Place) -> frozenset[str]:
        named = [parse_access(read_text(self._host, path) or "") for path in place.access_files]
        if None in named:
            raise HostFault(f"the driver does not say which capabilities instance {unit} needs; see `nvidia-smi -L`")
        return own_nodes([f"/dev/nvidia{place.minor}", *filter(None, named)])

    # --- looks -------------------------------------------------------------------------------------------------------

    def _exists(self, path: str) -> bool:
        folder, _, name = path.rstrip("/").rpartition("/")
        return name in self._host.list(folder or "/")

    def _tell(self, message: str, what: str) -> None:
        """Log it once: the same is found for each job."""
        if f"{message}: {what}" not in self._told:
            self._told.add(f"{message}: {what}")
            log.warning(message, extra={"event": "gpu-specification", "reason": what})


def _is_for_reading(node: str) -> bool:
    """Say whether a node is a capability's: nobody but root may write it, and nobody needs to."""
    return node.startswith(f"{CAPABILITY_NODES}/")


def _remedy(path: str) -> str:
    if path.startswith("/dev/"):
        return "run `nvidia-modprobe -u -c=0` as root at each start of the host"
    return "run ldconfig as root; if it stays away, reinstall NVIDIA's driver"


def _paths(edits: Edits) -> Iterator[str]:
    yield from edits.nodes
    yield from (mount.source for mount in edits.mounts)


def _listed(path: str) -> tuple[Mount, ...]:
    name = library_name(path)
    return library(path, (name,)) if name is not None else (Mount(path, path),)
