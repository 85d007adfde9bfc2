"""A containerd that only pretends: it takes archives in by reading their index, and refuses anything else."""

from __future__ import annotations

import json
import subprocess
import tarfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshlab.core.errors import ProcessError
from meshlab.core.process import Completed, SystemRunner
from tests.fakes.programs import Call, FakePrograms

DATABASES = (
    "io.containerd.metadata.v1.bolt/meta.db",
    "io.containerd.snapshotter.v1.overlayfs/metadata.db",
)


class FakeContainerd(FakePrograms):
    """Stands in for meshlab.core.process.Runner; `cp` alone is the machine's own.

    fail_import: what `ctr images import` says before it ends with 1. lost: references that an import drops.
    exits: the spawned containerd ends at once, after writing this to its log. Images live in the root's
    database as JSON lines, so that copies and links of it can be told apart.
    """

    def __init__(
        self, *, fail_import: str = "", lost: Sequence[str] = (), exits: str = "", version: str = "1.6.20~ds1"
    ) -> None:
        self.fail_import, self.lost, self.exits, self.version = fail_import, tuple(lost), exits, version
        super().__init__()
        self.spawned: list[tuple[str, ...]] = []
        self.children: list[subprocess.Popen[bytes]] = []
        self.imports: list[list[str]] = []
        self.config: dict[str, Any] = {}

    def answer(self, call: Call) -> Completed:
        words = call.words
        self.commands.append(words)
        if call.stop is not None and call.stop.is_set():
            raise ProcessError(f"{words[0]} was stopped", argv=words)
        if words[0] == "cp":
            return SystemRunner().run(words, timeout=call.timeout)
        if words == ("containerd", "--version"):
            return Completed(words, 0, f"containerd example.org/containerd {self.version} abc\n", "", 0.1)
        if words[0] == "ctr":
            return self._ctr(words)
        raise AssertionError(f"FakeContainerd does not know {words}")

    def start(self, call: Call) -> subprocess.Popen[bytes]:
        words = call.words
        self.spawned.append(words)
        at = words.index("containerd")
        assert words[at + 1] == "--config", words
        self.config = tomllib.loads(Path(words[at + 2]).read_text())
        if self.exits:
            assert call.log_file is not None
            call.log_file.write_text(self.exits)
            child = subprocess.Popen(["false"], start_new_session=True)
            child.wait()
        else:
            for name in DATABASES:
                file = self._root / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
            Path(self.config["grpc"]["address"]).touch()
            child = subprocess.Popen(["sleep", "60"], start_new_session=True)
        self.children.append(child)
        return child

    @property
    def _root(self) -> Path:
        return Path(self.config["root"])

    def _ctr(self, words: tuple[str, ...]) -> Completed:
        assert words[1:3] == ("--address", self.config["grpc"]["address"]), words
        command = words[words.index("--namespace") + 2 :]
        database = self._root / DATABASES[0]
        if command == ("version",):
            return Completed(words, 0, "", "", 0.1)
        if command == ("images", "list", "--quiet"):
            return Completed(words, 0, database.read_text(), "", 0.1)
        if command[:4] == ("images", "import", "--snapshotter", "overlayfs"):
            if self.fail_import:
                raise ProcessError(self.fail_import, argv=words, returncode=1)
            names = [name for name in archive_names(Path(command[4])) if name not in self.lost]
            self.imports.append(names)
            with database.open("a") as file:
                file.writelines(f"{name}\n" for name in names)
            return Completed(words, 0, "", "", 0.1)
        raise AssertionError(f"FakeContainerd does not know ctr {command}")


def archive_names(archive: Path) -> list[str]:
    """The names in an OCI archive's index; fails when the archive is not whole."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("index.json")
        assert member is not None
        index = json.load(member)
        blobs = {name for name in tar.getnames() if name.startswith("blobs/")}
    for manifest in index["manifests"]:
        assert f"blobs/{manifest['digest'].replace(':', '/')}" in blobs
    return [manifest["annotations"]["io.containerd.image.name"] for manifest in index["manifests"]]
