"""An mmdebstrap that unpacks a handful of made-up files, and refuses commands that are not for it."""

from __future__ import annotations

from pathlib import Path

from meshlab.core.errors import ProcessError
from meshlab.core.process import Completed
from tests.fakes.programs import Call, FakePrograms

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


class FakeMmdebstrap(FakePrograms):
    """Stands in for meshlab.core.process.Runner. fail: what mmdebstrap says before it fails half-way."""

    def __init__(self, *, fail: str = "", apt: str = "") -> None:
        self.fail, self.apt = fail, apt
        super().__init__()

    def answer(self, call: Call) -> Completed:
        words = call.words
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
            raise ProcessError(self.fail, argv=words, returncode=1, remedy=call.remedy)
        return Completed(words, 0, "", "", 1.0)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
