"""Run shapes on a lab of their own and print what became of them: `python -m tests.live.shapes [NAME …]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from meshlab.config.settings import Machine
from tests.live.conftest import NAME, down, run_lab
from tests.live.shapes.charts import bring_up
from tests.live.shapes.run import run, table
from tests.live.shapes.shape import names, read


def main() -> int:
    """Returns 0 where every shape is as listed and its fault was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.shapes", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(names())}; all by default")
    parser.add_argument("--kubeconfig", type=Path, help="of a lab that is up and stays up")
    given = parser.parse_args()
    wanted = given.names or names()
    if unknown := [name for name in wanted if name not in names()]:
        parser.error(f"no such shape: {', '.join(unknown)}; there are: {', '.join(names())}")
    shapes = [read(name) for name in wanted]
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="shapes-", ignore_cleanup_errors=True) as text:
        folder = Path(text)
        for needs in dict.fromkeys((shape.lab, shape.charts) for shape in shapes):
            with lab(folder, *needs, given.kubeconfig) as kubeconfig:
                outcomes += [
                    run(each, kubeconfig, folder / each.name)
                    for each in shapes
                    if (each.lab, each.charts) == needs
                ]
    print(table(outcomes))
    return 0 if all(each.ok for each in outcomes) else 1


@contextmanager
def lab(
    folder: Path, words: Sequence[str], charts: tuple[str, ...], kubeconfig: Path | None
) -> Iterator[Path]:
    """Bring a lab up for a while; one that is up already stays up."""
    if kubeconfig is not None:
        yield kubeconfig
        return
    try:
        runs = folder / f"lab{len(list(folder.iterdir()))}"
        ran = bring_up(charts, runs) if charts else run_lab(runs, "--keep", *words)
        if ran.code:
            print(f"the lab {' '.join(words)} ended with {ran.code}:\n{ran.output[-6000:]}", file=sys.stderr)
        yield Machine.here().state / "clusters" / NAME / "kubeconfig"
    finally:
        down()


if __name__ == "__main__":
    sys.exit(main())
