"""Meshes as others have them, on the kept lab: each check's verdict is the listed one, and a planted fault is caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.conftest import Ran
from tests.live.shapes.run import run, table
from tests.live.shapes.shape import names, read
from tests.live.test_nightly import kubeconfig_of

pytestmark = pytest.mark.live
OFTEN = ("hardened", "operator")  # in `make test`; the others are long
SHARED = [read(name) for name in names() if not read(name).own_lab]


@pytest.mark.parametrize(
    "name",
    [pytest.param(each.name, marks=[] if each.name in OFTEN else [pytest.mark.long]) for each in SHARED],
)
def test_a_night_on_this_mesh_is_as_listed_and_its_fault_is_caught(
    kept_lab: Ran, tmp_path: Path, name: str
) -> None:
    outcome = run(read(name), kubeconfig_of(kept_lab), tmp_path)
    assert outcome.ok, table([outcome])
