"""Compile tests/differential/istio.go and let it make configuration: `python -m tests.differential.generate`.

Writes tests/differential/configuration.jsonl.gz, a world and its configuration a line, for the unit tests. Again
after each new version of Istio in the pins.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meshlab.clusters.local import pins, toolchain
from meshlab.config.settings import Machine
from meshlab.core.process import SystemRunner
from tests.differential.worlds import world

HERE = Path(__file__).parent
KEPT = HERE / "configuration.jsonl.gz"
WORLDS = 200
Pair = tuple[dict[str, Any], dict[str, Any]]


def compiled(machine: Machine) -> Path:
    """The program, compiled with the module and the toolchain of the embedded distribution; Go keeps what it compiled."""
    program = machine.cache / "tests" / "authz-config"
    program.parent.mkdir(parents=True, exist_ok=True)
    runner = SystemRunner()
    go = toolchain.find(runner, machine.path).go
    module = pins.STAGES["cluster"].directory
    words = ["build", "-C", str(module), *pins.BUILD_FLAGS, "-o", str(program), str(HERE / "istio.go")]
    runner.run([str(go), *words], timeout=1800, env=dict(toolchain.ENVIRONMENT))
    return program


def configured(program: Path, worlds: Sequence[dict[str, Any]]) -> list[Pair]:
    """Each world with the configuration that istiod makes of it."""
    text = "".join(json.dumps(one) + "\n" for one in worlds)
    told = SystemRunner().run([str(program)], input=text, timeout=1800).stdout
    return list(zip(worlds, map(json.loads, told.splitlines()), strict=True))


def kept() -> list[Pair]:
    """What is kept for the unit tests."""
    with gzip.open(KEPT, "rt", encoding="utf-8") as lines:
        return [tuple(json.loads(line)) for line in lines]


def main() -> None:
    """Make the kept configuration again."""
    pairs = configured(compiled(Machine.here()), [world(seed) for seed in range(WORLDS)])
    text = "".join(json.dumps(pair, sort_keys=True) + "\n" for pair in pairs)
    KEPT.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{len(pairs)} worlds in {KEPT.name}")


if __name__ == "__main__":
    main()
