"""An mmdebstrap that unpacks a handful of made-up files, and refuses commands that are not for it."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from meshlab.errors import ProcessError
from meshlab.process import Completed

FILES = (
    "usr/bin/python3",
    "usr/bin/mawk",
    "usr/sbin/iptables-nft",
    "usr/sbin/iptables-legacy",
    "usr/share/doc/curl/copyright",
    "usr/share/locale/de/x.mo",
    "usr/lib/ssl/openssl.cnf",
    "etc/apt/sources.list",
    "etc/resolv.conf",
    "etc/debian_version",
    "var/run/keep",
    "var/lock/keep",
    "var/lib/dpkg/status",
    "tmp/left",
    "dev/null",
)
CERTIFICATES = {"b.crt": "-----B-----\n", "a.crt": "-----A-----"}


class FakeMmdebstrap:
    """Stands in for meshlab.process.Runner. fail: what mmdebstrap says before it fails half-way."""

    def __init__(self, *, fail: str = "", apt: str = "") -> None:
        self.fail, self.apt = fail, apt
        self.commands: list[tuple[str, ...]] = []

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        timeout: float,
        check: bool = True,
        input: str | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
        remedy: str = "",
    ) -> Completed:
        words = tuple(os.fspath(word) for word in argv)
        self.commands.append(words)
        if words == ("apt-config", "dump"):
            return Completed(words, 0, self.apt, "", 0.1)
        if "mmdebstrap" not in words:
            raise AssertionError(f"FakeMmdebstrap does not know {words}")
        root = Path(words[words.index("bookworm") + 1])
        for name in FILES[: len(FILES) // 2] if self.fail else FILES:
            _write(root / name, name)
        for name, text in CERTIFICATES.items():
            _write(root / "usr/share/ca-certificates/mozilla" / name, text)
        if self.fail:
            raise ProcessError(self.fail, argv=words, returncode=1, remedy=remedy)
        return Completed(words, 0, "", "", 1.0)

    def spawn(self, *_: object, **__: object) -> subprocess.Popen[bytes]:
        raise AssertionError("making a root file system starts no process that goes on running")


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
