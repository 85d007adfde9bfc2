"""`python -m benchmarks [PART …] [--run RUNS/RUN-ID] [--times N]`: measures parts, and merges them into latest.json.

Without a part all are measured that need no run of yours; `first-run` only when it is named, as it compiles everything.
Needs what the lab needs. Exit codes: 0 measured, 2 bad input, 3 a part could not be measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import page, record
from benchmarks.commands import Bench
from benchmarks.parts import PARTS
from meshlab.core.errors import MeshlabError
from meshlab.core.process import SystemRunner

ONCE = "first-run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)}")
    parser.add_argument(
        "--run", type=Path, help="directory of a run that is there, for the parts that read one"
    )
    parser.add_argument("--times", type=int, default=3, help="how often a thing is measured (default: 3)")
    asked = parser.parse_args(arguments)
    problems = [
        f"no part is named {name}; there are: {', '.join(PARTS)}" for name in asked.parts if name not in PARTS
    ]
    if asked.times < 1:
        problems.append("--times needs a number of 1 or more")
    if asked.run is not None and not (asked.run / "evidence" / "journal.jsonl").exists():
        problems.append(f"{asked.run} is no run's directory: it has no evidence/journal.jsonl")
    chosen = [PARTS[name] for name in asked.parts if name in PARTS] or [
        part for part in PARTS.values() if part.name != ONCE and (asked.run is not None or not part.needs_run)
    ]
    problems += [
        f"{part.name} reads a run: name it with --run" for part in chosen if part.needs_run and not asked.run
    ]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(SystemRunner(), Path(folder), asked.times, asked.run)
        for part in chosen:
            print(f"{part.name}: {part.title} (wanted: {part.goal})", flush=True)
            before = record.machine()  # its load is that of before the part's own
            try:
                latest = record.merge(record.read(), part.name, part.measure(bench), before)
            except MeshlabError as problem:
                print(f"{part.name}: {problem}", file=sys.stderr)
                return 3
            record.write(latest)
            page.write(latest)
    print(page.text(record.read()), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
