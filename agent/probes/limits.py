"""Whether the kernel can hold jobs to their limits here: what trying it on a group of jobs has shown."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from agent.ports import Host

_DELEGATE = "run the agent as a service with Delegate=yes and DelegateSubgroup=agent"
_MEMORY = "add cgroup_enable=memory to the kernel's command line (Raspberry Pi: cmdline.txt), and reboot"
_UNIFIED = f"boot with systemd.unified_cgroup_hierarchy=1 where cgroup v1 has them; else {_DELEGATE}"


class Limits(NamedTuple):
    """kind as `runtime.limits` shows it; why and remedy are empty where limits are exact."""

    kind: Literal["exact", "best-effort"]
    why: str = ""
    remedy: str = ""


def limits(host: Host) -> Limits | None:
    """Return how well limits hold on `host`; None when nobody tried."""
    return judge(host.query("limits-test"))


def judge(answer: Any) -> Limits | None:
    """Return what an answer to "limits-test" means (see probes.host.QUERIES); None for no answer."""
    if not isinstance(answer, dict):
        return None
    step, path, error = (str(answer.get(key, "")) for key in ("step", "path", "error"))
    missing = str(answer.get("missing", ""))
    if step == "done":
        return Limits("exact")
    known = {
        "tree": ("there is no cgroup v2 tree", _UNIFIED),
        "controllers": (f"{path} does not offer {missing}", _MEMORY if missing == "memory" else _UNIFIED),
        "make": (f"{path} cannot be made ({error})", _DELEGATE),
        "kill": ("groups cannot be killed as a whole before kernel 5.14", "upgrade the kernel"),
        "type": (f"{path} takes no processes ({error})", "run the agent in a group that is not threaded"),
        "enable": (f"controllers cannot be switched on in {path} ({error})", _DELEGATE),
        "write": (f"limits cannot be set in {path} ({error})", _DELEGATE),
    }
    return Limits("best-effort", *known.get(step, (f'the test ended at "{step}"', _DELEGATE)))
