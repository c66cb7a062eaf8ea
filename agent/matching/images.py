"""Which image of a job runs on a host, and by which architecture.

A job whose image is a Python virtual environment runs without a container: it needs no runtime, and nothing of it is
ever emulated.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.matching.check import Case, Check, Images, MatchPolicy, met, never, source, unique
from agent.model.capabilities import Capabilities
from agent.model.cargo import VENV_IMAGE
from agent.model.job import Image, Job
from agent.model.verdict import Reason


def candidate_archs(job: Job, host: Capabilities, policy: MatchPolicy) -> tuple[str, ...]:
    """Return the architectures to try, best first: native, compatible, emulated.

    The job has an image for each of them, and policy allows to fetch it.
    """
    return tuple(arch for arch in _runnable(job, host, policy) if _image_allowed(job, arch, policy))


def _runnable(job: Job, host: Capabilities, policy: MatchPolicy) -> list[str]:
    archs = list(host.runtime.archs or ())
    # Drivers of a GPU belong to the real CPU.
    if archs and not job.requires.gpus and job.accel == "none":
        archs += [arch for arch in host.runtime.emulated or () if arch in policy.emulate and arch not in archs]
    bare = [host.cpu.arch] if host.cpu.arch is not None and _is_bare(job, host) else []
    return [arch for arch in bare or archs if _has_image(job, arch) and _is_venv(job, arch) == bool(bare)]


def _has_image(job: Job, arch: str) -> bool:
    return (not job.architectures or arch in job.architectures) and job.image_for(arch) is not None


def _image_allowed(job: Job, arch: str, policy: MatchPolicy) -> bool:
    return policy.allows(_image(job, arch).uri, policy.image_prefixes)


def _image(job: Job, arch: str) -> Image:
    return job.image_for(arch) or Image("")


def _is_venv(job: Job, arch: str) -> bool:
    return _image(job, arch).uri == VENV_IMAGE


def _is_bare(job: Job, host: Capabilities) -> bool:
    """Say whether the job, as this host would run it, needs the host's own Python and no container."""
    return _is_venv(job, host.cpu.arch or "")


def is_emulated(host: Capabilities, arch: str) -> bool:
    """Say whether programs for `arch` run on the host only through an emulator."""
    return arch not in (host.cpu.arch, *(host.runtime.archs or ()))


def chosen_arch(job: Job, host: Capabilities, images: Images, policy: MatchPolicy) -> str | None:
    for arch in candidate_archs(job, host, policy):
        found = images.get(arch)
        if found is not None and found.problem is None and found.arch == arch:
            return arch
    return None


def check_runtime(case: Case) -> Iterable[Check]:
    runtime = case.host.runtime
    if _is_bare(case.job, case.host):
        yield from _check_images(case)
    elif runtime.archs:
        yield met(Reason.RUNTIME, "a container runtime", f"{runtime.name} {runtime.version}")
        yield from _check_images(case)
    else:
        remedy = "install Apptainer 1.1 or newer; `edge-agent probe` says what is wrong"
        yield never(Reason.RUNTIME, "a container runtime", "none that can be used", remedy)


def _check_images(case: Case) -> Iterable[Check]:
    runnable = _runnable(case.job, case.host, case.policy)
    candidates = candidate_archs(case.job, case.host, case.policy)
    chosen = chosen_arch(case.job, case.host, case.images, case.policy)
    if not runnable:
        yield _wrong_arch(case)
    elif not candidates:
        for uri in unique(_image(case.job, arch).uri for arch in runnable):
            yield _not_allowed(case, uri)
    elif chosen is not None:
        yield met(Reason.ARCHITECTURE, _asked_archs(case.job), _host_archs(case))
        yield met(Reason.IMAGE_UNUSABLE, f"image {_image(case.job, chosen).uri}", f"runs on {chosen}")
    else:
        yield from unique(_bad_image(case, arch) for arch in candidates)


def _not_allowed(case: Case, uri: str) -> Check:
    if uri != VENV_IMAGE:
        return source(case, Reason.IMAGE_SOURCE, "image", uri, "image_prefixes")
    remedy = "allow it: [studioml] trusted = true (such jobs run on this host without a container)"
    return never(Reason.IMAGE_SOURCE, "a Python environment in place of an image", "not allowed on this host", remedy)


def _bad_image(case: Case, arch: str) -> Check:
    """Return why the image for a candidate architecture does not do."""
    image = _image(case.job, arch)
    found = case.images.get(arch)
    if found is None:
        return never(Reason.IMAGE_MISSING, f"image {image.uri}", "no such image", "build or copy the image there")
    if found.problem is not None:
        remedy = "submit to hosts that have what it needs" if image.uri == VENV_IMAGE else "build the image anew"
        return never(Reason.IMAGE_UNUSABLE, f"image {image.uri}", found.problem, remedy)
    if case.job.architectures:
        wanted = f"an image for {arch} at {image.uri}"
        return never(Reason.IMAGE_UNUSABLE, wanted, f"an image for {found.arch}", "name the right image")
    wanted = f"a host that runs {found.arch}, which {image.uri} is for"
    return never(Reason.ARCHITECTURE, wanted, _host_archs(case), _emulation_remedy(case, (found.arch or "",)))


def _wrong_arch(case: Case) -> Check:
    wanted = case.job.architectures
    return never(Reason.ARCHITECTURE, _asked_archs(case.job), _host_archs(case), _emulation_remedy(case, wanted))


def _asked_archs(job: Job) -> str:
    return "a host that runs " + (" or ".join(job.architectures) or "the image")


def _host_archs(case: Case) -> str:
    if _is_bare(case.job, case.host):
        return case.host.cpu.arch or "unknown"
    emulated = [arch for arch in case.host.runtime.emulated or () if arch in case.policy.emulate]
    shown = ", ".join(case.host.runtime.archs or ())
    return shown + (f" (emulated: {', '.join(emulated)})" if emulated else "")


def _emulation_remedy(case: Case, wanted: Iterable[str]) -> str:
    if _is_bare(case.job, case.host):
        return "submit to hosts that run it"
    if case.job.requires.gpus or case.job.accel != "none":
        return "add an image for this host's architecture"
    could = [arch for arch in wanted if arch in (case.host.runtime.emulated or ())]
    if could:
        return f'allow emulation (slow): [runtime] emulate = ["{could[0]}"]'
    return "add an image for this host's architecture, or submit to hosts that run it"
