"""Meshes that must be installed as they are: each on a lab of its own, after the shared one is gone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.live.conftest import COLD, ROOT
from tests.live.shapes.shape import names, read

pytestmark = [pytest.mark.live, pytest.mark.long]


@pytest.mark.parametrize("name", [name for name in names() if read(name).own_lab])
def test_a_night_on_this_mesh_is_as_listed_and_its_fault_is_caught(
    clean_host: dict[str, list[str]], name: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.live.shapes", name],
        cwd=ROOT, capture_output=True, text=True, timeout=COLD, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
