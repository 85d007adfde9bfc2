"""Compare a finished run with its record, or write the record anew.

python -m tests.golden compare full-lab runs/RUN-ID --prefect-home ~/.prefect-of-this-run
python -m tests.golden inventory ~/.local/state/meshlab/clusters/meshlab/kubeconfig
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from meshlab.kube import fingerprint
from meshlab.kube.client import Kube
from tests.golden.record import RECORDS, artifacts_in, compare, objects_that_differ, read, record_of


def main() -> int:
    """Run one command; returns 1 where something differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("compare", "record"):
        command = commands.add_parser(name)
        command.add_argument("record", choices=sorted(path.stem for path in RECORDS.glob("*.json")))
        command.add_argument("run", type=Path, help="the run's directory")
        command.add_argument(
            "--prefect-home", type=Path, help="PREFECT_HOME of the server that served only this run"
        )
    commands.add_parser("objects").add_argument("kubeconfig", type=Path, help="of a kept lab's cluster")
    chosen = parser.parse_args()
    if chosen.command == "objects":
        return report(objects_that_differ(fingerprint.take(Kube.connect(chosen.kubeconfig))))
    now = record_of(chosen.run, artifacts_in(chosen.prefect_home) if chosen.prefect_home else None)
    if chosen.command == "compare":
        return report(compare(read(chosen.record), now))
    text = json.dumps(now, indent=1, ensure_ascii=False) + "\n"
    (RECORDS / f"{chosen.record}.json").write_text(text, encoding="utf-8")
    return 0


def report(differences: list[str]) -> int:
    """Print what differs."""
    print(*differences or ["no difference"], sep="\n")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
