"""A signed repository of Debian packages, as an operator would have one, behind a web server of this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from agent.process import run

_TIMEOUT = 120.0


class Repository:
    """Packages in one folder. key: the file that hosts know it by; url: for hosts, while it is served."""

    url: str

    def __init__(self, folder: Path, packages: Sequence[Path]) -> None:
        self.key = folder / "key.asc"
        self._folder = folder
        self._served = folder / "served"
        self._served.mkdir(parents=True)
        for package in packages:
            (self._served / package.name).symlink_to(package)
        self._write()

    @contextmanager
    def served_at(self, address: str) -> Iterator[Repository]:
        """Serve it to hosts that reach the address."""
        server = ThreadingHTTPServer((address, 0), partial(_Quiet, directory=str(self._served)))
        self.url = f"http://{address}:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _write(self) -> None:
        """Write what apt reads: a list of the packages, its digest, and the signature over that."""
        packages = "\n".join(map(_paragraph, sorted(self._served.glob("*.deb")))).encode()
        (self._served / "Packages").write_bytes(packages)
        digest = f"SHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
        release = f"Suite: stable\nDate: {formatdate(usegmt=True)}\n{digest}"
        (self._folder / "Release").write_text(release)
        home = self._folder / "gnupg"
        home.mkdir(mode=0o700)
        gpg = ("gpg", "--homedir", str(home), "--batch", "--quiet", "--yes")
        _call(*gpg, "--passphrase", "", "--quick-generate-key", "repository", "ed25519", "sign")
        _call(*gpg, "--armor", "--output", str(self.key), "--export")
        signed = str(self._served / "InRelease")
        _call(*gpg, "--output", signed, "--clear-sign", str(self._folder / "Release"))
        _call("gpgconf", "--homedir", str(home), "--kill", "gpg-agent")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


def _paragraph(package: Path) -> str:
    control = _call("dpkg-deb", "--field", str(package))
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    return f"{control.rstrip()}\nFilename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {digest}\n"


def _call(*argv: str) -> str:
    done = run(argv, _TIMEOUT)
    assert done.status == 0, f"{' '.join(argv)}: {done.err}"
    return done.out
