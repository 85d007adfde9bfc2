"""A Go toolchain that compiles nothing: it answers the commands of compiler.py and refuses any other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from meshlab.core.errors import ProcessError
from meshlab.core.process import Completed
from tests.fakes.programs import Call, FakePrograms

WRAPPER = ("setpriv", "--pdeathsig", "TERM")


class FakeGo(FakePrograms):
    """Stands in for meshlab.core.process.Runner.

    version: what `go version` says. stale: how many packages are not in the cache. fail: command (`list`,
    `build` or `mod`) → what it says on stderr before it ends with 1. source: what `go mod download` names.
    """

    def __init__(
        self,
        *,
        version: str = "go1.26.8",
        stale: int = 3,
        fail: Mapping[str, str] | None = None,
        source: Path | None = None,
    ) -> None:
        self.version = version
        self.stale = stale
        self.fail = dict(fail or {})
        self.source = source or Path("/nowhere")
        super().__init__()
        self.environments: list[dict[str, str]] = []

    def answer(self, call: Call) -> Completed:
        words = call.words
        if words[: len(WRAPPER)] == WRAPPER:
            words = words[len(WRAPPER) :]
        self.commands.append(words)
        self.environments.append(dict(call.env))
        command = words[1]
        if call.stop is not None and call.stop.is_set():
            raise ProcessError("go was stopped", argv=words)
        if command in self.fail:
            return Completed(words, 1, "", self.fail[command], 0.1)
        if command == "version":
            return Completed(words, 0, f"go version {self.version} linux/amd64\n", "", 0.1)
        if command == "list":
            return Completed(words, 0, self._listing(), "", 0.1)
        if command == "build":
            return Completed(words, 0, "", self._build(words, call.on_line), 0.1)
        if words[1:4] == ("mod", "download", "-json"):
            return Completed(words, 0, json.dumps({"Path": words[4], "Dir": str(self.source)}), "", 0.1)
        raise AssertionError(f"FakeGo does not know {words}")

    def _listing(self) -> str:
        rows = [("false", f"example.org/kept/{n}", "") for n in range(5)]
        rows.append(("true", "example.org/main", "not installed but available in build cache"))
        rows += [("true", f"example.org/package/{n}", "stale dependency: errors") for n in range(self.stale)]
        return "".join(f"{stale}\t{name}\t/nowhere\ta.go,b.go\t{why}\n" for stale, name, why in rows)

    def _build(self, words: tuple[str, ...], on_line: Callable[[str], None] | None) -> str:
        """Write a file per package into the -o folder, named as Go does; name the packages as -v does."""
        into = Path(words[words.index("-o") + 1])
        for package in words[words.index("-o") + 2 :]:
            parts = [part for part in package.split("/") if part != "v3"]
            binary = into / parts[-1]
            binary.write_text(f"binary of {package}")
            binary.chmod(0o755)
        names = [f"example.org/package/{n}" for n in range(self.stale)]
        for name in names:
            if on_line:
                on_line(name)
        return "\n".join(names)
