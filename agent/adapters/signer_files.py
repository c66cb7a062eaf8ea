"""Those whose signed jobs run here, as the configuration names them; what changes in a file holds for the next job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.config.signing import SignerSection
from agent.errors import HostFault, InvalidInput
from agent.signing import Signer, fingerprint, load_signer

_FINGERPRINT = "SHA256:"


class ConfiguredSigners:
    """Signers as agent.signing has them."""

    def __init__(self, sections: Mapping[str, SignerSection]) -> None:
        self._sections = dict(sections)

    def find(self, key_id: str) -> Signer | None:
        """See Signers."""
        if key_id in self._sections:
            return _signer(key_id, self._sections[key_id])
        if not key_id.startswith(_FINGERPRINT):
            return None
        signers = (_signer(name, section) for name, section in self._sections.items())
        return next((signer for signer in signers if fingerprint(signer.key) == key_id), None)


def _signer(name: str, section: SignerSection) -> Signer:
    if section.key is not None:
        return Signer(load_signer(section.key.encode()), section.queues)
    path = Path(section.file or "")
    try:
        return Signer(load_signer(path.read_bytes()), section.queues)
    except InvalidInput as error:
        raise HostFault(f"[policy.signers] {name}: {error.from_source(str(path))}; replace or remove it") from None
    except OSError as error:
        raise HostFault(f"[policy.signers] {name}: {path}: {error.strerror}; the agent must read it") from None
