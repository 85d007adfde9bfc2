"""Run shapes on a lab of their own and print what became of them: `python -m tests.live.shapes [NAME …]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meshlab.core.environment import quieten_prefect
from meshlab.core.errors import MeshlabError
from tests.live.conftest import NAME, NETWORK
from tests.live.shapes.lab import Place, bring_up, take_down
from tests.live.shapes.run import Outcome, run, table
from tests.live.shapes.shape import Shape, names, read


def main() -> int:
    """Returns 0 where every shape is as listed and its fault was caught."""
    quieten_prefect()  # the temporary server of a planted fault's checks would else ask hosts outside
    parser = argparse.ArgumentParser(prog="python -m tests.live.shapes", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SHAPE", help=f"of: {', '.join(names())}; all by default")
    parser.add_argument("--kubeconfig", type=Path, help="of a lab that is up and stays up")
    parser.add_argument("--name", default=NAME, help="of the lab's cluster")
    parser.add_argument("--network", default=NETWORK, help="of the lab's cluster: two octets")
    parser.add_argument("--keep", action="store_true", help="leave the last lab up, to look at it")
    parser.add_argument("--files", type=Path, help="an empty folder for the nights' files, which are kept")
    given = parser.parse_args()
    wanted = given.names or names()
    if unknown := [name for name in wanted if name not in names()]:
        parser.error(f"no such shape: {', '.join(unknown)}; there are: {', '.join(names())}")
    place = Place(given.name, given.network)
    shapes = [read(name) for name in wanted]
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="shapes-", ignore_cleanup_errors=True) as text:
        folder = given.files or Path(text)
        for needs in dict.fromkeys(shape.needs for shape in shapes):
            those = [each for each in shapes if each.needs == needs]
            outcomes += together(those, place, folder, given.kubeconfig)
    if not given.keep and given.kubeconfig is None:
        take_down(place)
    print(table(outcomes))
    return 0 if all(each.ok for each in outcomes) else 1


def together(shapes: list[Shape], place: Place, folder: Path, kubeconfig: Path | None) -> list[Outcome]:
    """Run the shapes of one lab. What went wrong with one is told, and the others still run."""
    outcomes = []
    with lab(shapes[0], place, folder, kubeconfig) as there:
        for each in shapes:
            try:
                outcomes.append(run(each, there, folder / each.name))
            except (MeshlabError, AssertionError, subprocess.SubprocessError) as problem:
                traceback.print_exc()
                outcomes.append(Outcome(each.name, -1, 0.0, {}, (f"did not come to its end: {problem}",), ""))
            print(table(outcomes[-1:]), flush=True)
    return outcomes


@contextmanager
def lab(shape: Shape, place: Place, folder: Path, kubeconfig: Path | None) -> Iterator[Path]:
    """Bring a lab up; it goes with the next one, or at the end. One that is up already stays up."""
    if kubeconfig is not None:
        yield kubeconfig
        return
    take_down(place)
    yield bring_up(shape, place, folder)


if __name__ == "__main__":
    sys.exit(main())
