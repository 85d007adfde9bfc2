"""Faults in the way of the lab's own removal: each check of what is left names its fault, and passes without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.faults.faults import FAULTS
from tests.live import host
from tests.live.conftest import run_lab

pytestmark = [pytest.mark.live, pytest.mark.long]


def test_what_can_not_be_removed_is_named_and_then_goes(
    clean_host: dict[str, list[str]], tmp_path: Path
) -> None:
    last = [fault for fault in FAULTS if fault.last]
    words = [word for fault in last for word in ("--only", fault.name)]
    ran = run_lab(tmp_path / "runs", *words, module="flows.sabotage")
    assert ran.code == 0, ran.output[-6000:]
    catches = {catch["fault"]: catch for catch in ran.result["catches"]}
    for fault in last:
        assert tuple(catches[fault.name]["red"]) == fault.must and catches[fault.name]["restored"] is True
        assert ran.check(fault.check_id)["verdict"] == "pass" and ran.check(fault.check_id)["seconds"] < 90
        for check_id in fault.must:
            assert ran.check(check_id)["verdict"] == "pass", "the run's own removal"
    assert host.difference(clean_host, host.snapshot()) == {}
