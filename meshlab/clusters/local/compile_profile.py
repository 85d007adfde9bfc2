"""Where the CPU time of a compile went: `python -m meshlab.clusters.local.compile_profile` (`make first-run-profile`).

Go writes every action of a build with its times (`-debug-actiongraph`); what counts of it is kept beside the compile's log.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from meshlab.config.settings import Machine
from meshlab.core.errors import MeshlabError
from meshlab.core.files import write_atomically

KINDS = {"build": "package", "link": "link"}  # Go's name of an action → ours
SHOWN = 12  # rows of the table of modules


@dataclass(frozen=True)
class Work:
    """One package compiled, or one binary linked: its processor seconds, and when it ran (seconds since the first began)."""

    kind: str
    package: str
    cpu: float
    began: float
    ended: float


@dataclass(frozen=True)
class Profile:
    """A compile that was done.

    lookup: seconds in which modules were downloaded and the missing packages counted. seconds: of the compile after it.
    processors: of the machine. garbage: GOGC, "" where it was Go's own.
    """

    stage: str
    lookup: float
    seconds: float
    processors: int
    garbage: str
    works: tuple[Work, ...]

    def cpu(self, kind: str) -> float:
        """Processor seconds of the works of a kind, `package` or `link`."""
        return sum(work.cpu for work in self.works if work.kind == kind)

    @property
    def idle(self) -> float:
        """Processor seconds of this machine that the compile did not use: it waited, or others worked."""
        return max(0.0, self.processors * self.seconds - sum(work.cpu for work in self.works))


def works(actions: Sequence[Mapping[str, Any]]) -> tuple[Work, ...]:
    """Read what Go wrote of a build's actions: those that started a program, in the order in which they began."""
    ran = [each for each in actions if each.get("Mode") in KINDS and each.get("CmdReal")]
    times = [(_seconds(each["TimeStart"]), _seconds(each["TimeDone"])) for each in ran]
    first = min((began for began, _ in times), default=0.0)
    found = [
        Work(
            KINDS[each["Mode"]],
            each["Package"],
            round((each.get("CmdUser", 0) + each.get("CmdSys", 0)) / 1e9, 3),
            round(began - first, 3),
            round(ended - first, 3),
        )
        for each, (began, ended) in zip(ran, times, strict=True)
    ]
    return tuple(sorted(found, key=lambda work: work.began))


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def keep(profile: Profile, path: Path) -> None:
    """Write a profile down.

    Args:
        profile: The profile.
        path: The file; an older one is replaced.
    """
    write_atomically(path, json.dumps(asdict(profile)) + "\n")


def read(path: Path) -> Profile:
    """Read what `keep` wrote. Raises OSError, ValueError, KeyError or TypeError where it is not that."""
    found = json.loads(path.read_text())
    return Profile(**{**found, "works": tuple(Work(**each) for each in found["works"])})


def table(profiles: Sequence[Profile]) -> str:
    """Say where the time went: per stage, then the modules that cost most, then each link.

    Args:
        profiles: Of the stages, in the order in which they ran.

    Returns:
        Lines of text.
    """
    lines = ["stage        wall s  lookup s  packages   CPU s  links   CPU s  idle CPU s  GOGC"]
    for one in profiles:
        counts = Counter(work.kind for work in one.works)
        lines.append(
            f"{one.stage:<11} {one.seconds:7.0f} {one.lookup:9.0f} {counts['package']:9d} {one.cpu('package'):7.0f}"
            f" {counts['link']:6d} {one.cpu('link'):7.0f} {one.idle:11.0f}  {one.garbage or 'default'}"
        )
    total = sum(one.cpu(kind) for one in profiles for kind in KINDS.values())
    lines += ["", f"{total / 60:.1f} CPU-minutes; the modules that cost most:"]
    modules: Counter[str] = Counter()
    for one in profiles:
        for work in one.works:
            if work.kind == "package":
                modules[_module(work.package)] += round(work.cpu * 1000)
    for module, cost in modules.most_common(SHOWN):
        lines.append(f"  {cost / 1000:7.1f} s {_share(cost / 1000, total)}  {module}")
    links = [work for one in profiles for work in one.works if work.kind == "link"]
    lines += [
        "",
        "links:",
        *(f"  {work.cpu:7.1f} s {_share(work.cpu, total)}  {work.package}" for work in links),
    ]
    return "\n".join(lines) + "\n"


def _module(package: str) -> str:
    words = package.split("/")
    return "/".join(words[:3]) if "." in words[0] else "Go's standard library"


def _share(part: float, total: float) -> str:
    return f"{100 * part / total:4.1f} %" if total else "   -  "


def main() -> int:
    """Print the profile of this machine's last compiles; 2 where there is none."""
    folder = Machine.here().state / "logs"
    try:
        print(table(kept(folder)), end="")
    except MeshlabError as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


def kept(folder: Path) -> list[Profile]:
    """Read the profiles in a folder of logs, the oldest first. Raises MeshlabError where it has none, or one is broken."""
    found: list[Profile] = []
    for path in sorted(folder.glob("compile-*.profile.json"), key=lambda each: each.stat().st_mtime):
        try:
            found.append(read(path))
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise MeshlabError(
                f"{path} can't be read as the profile of a compile: {problem!r}", remedy="remove it"
            ) from problem
    if not found:
        raise MeshlabError(
            f"{folder} has no profile: nothing was compiled on this machine since profiles are kept",
            remedy="empty the folders of `go env GOCACHE` and bin/ in the meshlab cache folder, then `make lab`",
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
