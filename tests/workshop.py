"""Images that are signed by the runtime with keys of a test, and all that others may do to them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from agent.adapters.local_image import build_image
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def runtime(*words: str | Path, home: Path, said: str = "") -> None:
    """Run apptainer with keys of this test alone."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "APPTAINER_KEYSDIR": str(home / "ring")}
    argv = ["apptainer", "-s", *map(str, words)]
    subprocess.run(argv, env=environ, input=said, text=True, check=True, capture_output=True, timeout=60)


class Workshop:
    """Who makes images and signs them: signed.sif and bare.sif, and key pairs by name. `keys` is the operator's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bare = folder / "bare.sif"
        build_image(self.bare, "apptainer")
        for name in ("own", "other"):
            self._write(name, Ed25519PrivateKey.generate() if name == "own" else generate_private_key(SECP256R1()))
        self.signed = self.sign(self.bare, "own", "signed.sif")

    def sign(self, image: Path, key: str, name: str) -> Path:
        signed = Path(shutil.copy(image, self.folder / name))
        runtime("sign", "--key", self.folder / f"{key}.key", signed, home=self.folder)
        return signed

    def sign_pgp(self, name: str) -> Path:
        """Sign with a new PGP key, whose public half is own.asc then."""
        (self.folder / "ring").mkdir(mode=0o700)
        about = ("--name", "n", "--email", "e@example.org", "--comment", "", "--password", "", "--push=false")
        runtime("key", "newpair", "--bit-length", "2048", *about, home=self.folder)
        runtime("key", "export", "--armor", self.folder / "own.asc", home=self.folder, said="0\n")
        signed = Path(shutil.copy(self.bare, self.folder / name))
        runtime("sign", signed, home=self.folder)
        return signed

    def with_overlay(self, group: str | None) -> Path:
        """Return the signed image with an overlay partition added to it by somebody else."""
        image = Path(shutil.copy(self.signed, self.folder / f"overlay-{group}.sif"))
        disk = self.folder / "disk"
        disk.write_bytes(b"evil" * 1024)
        kind = ("--datatype", "4", "--partfs", "2", "--parttype", "4", "--partarch", "2")
        runtime("sif", "add", *kind, *(("--groupid", group) if group else ()), image, disk, home=self.folder)
        return image

    def changed(self) -> Path:
        """Return the signed image with a byte of its file system changed."""
        image = Path(shutil.copy(self.signed, self.folder / "changed.sif"))
        content = bytearray(image.read_bytes())
        content[content.index(b"hsqs") + 200] ^= 1
        image.write_bytes(content)
        return image

    def keys(self, *names: str) -> Path:
        """Return a directory with these public keys."""
        keys = self.folder / f"keys-{'-'.join(names)}"
        keys.mkdir(exist_ok=True)
        for name in names:
            shutil.copy(self.folder / name, keys)
        return keys

    def _write(self, name: str, key: Ed25519PrivateKey | EllipticCurvePrivateKey) -> None:
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.folder / f"{name}.key").write_bytes(private)
        (self.folder / f"{name}.pem").write_bytes(public)
