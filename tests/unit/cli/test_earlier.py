"""Earlier runs beside this one tell how long its steps take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshlab.cli.earlier import RUNS, Earlier, earlier


def _run(
    runs: Path,
    name: str,
    install: float,
    *,
    flow: str = "full-lab",
    provider: str = "local",
    last: str = "ended",
) -> Path:
    """A run of two steps: the cluster took 10 s, Istio the given seconds, and 20 s came after them."""

    def at(second: float) -> str:
        return f"2026-11-28T10:{int(second // 60):02}:{second % 60:06.3f}Z"

    events = [
        {"at": at(0), "event": "run", "flow": flow},
        {"at": at(0), "event": "facts", "facts": {"cluster": {"provider": provider}}},
        {"at": at(10), "event": "step", "name": "start-cluster", "state": "done", "seconds": 10.0},
        {"at": at(10), "event": "step", "name": "install-istio", "state": "started"},
        {
            "at": at(10 + install),
            "event": "step",
            "name": "install-istio",
            "state": "done",
            "seconds": install,
        },
        {"at": at(30 + install), "event": last},
    ]
    journal = runs / name / "evidence" / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("".join(json.dumps(each) + "\n" for each in events))
    return runs / name


def test_the_median_of_the_newest_counts(tmp_path: Path) -> None:
    _run(tmp_path, "a-old", 900)
    for number, seconds in enumerate((14, 12, 30, 13, 15)):
        _run(tmp_path, f"b-{number}", seconds)
    assert RUNS == 5
    found = earlier(tmp_path / "c-this", "full-lab", "local")
    assert found.took == {"start-cluster": 10.0, "install-istio": 14.0}
    assert found.rest == {"start-cluster": pytest.approx(44.0), "install-istio": pytest.approx(34.0)}


def test_other_runs_and_this_one_do_not_count(tmp_path: Path) -> None:
    _run(tmp_path, "another-flow", 1, flow="nightly-validation")
    _run(tmp_path, "another-cluster", 1, provider="gke")
    _run(tmp_path, "killed", 1, last="signal")
    mine = _run(tmp_path, "mine", 1)
    assert earlier(mine, "full-lab", "local") == Earlier()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"event": "run"}', '{"event": "facts", "facts": 3}', "\xff"]
)
def test_what_can_not_be_read_keeps_nobody_from_running(tmp_path: Path, content: str) -> None:
    good = _run(tmp_path, "a-good", 14)
    bad = _run(tmp_path, "b-bad", 14)
    (bad / "evidence" / "journal.jsonl").write_text(content, encoding="latin-1")
    assert earlier(tmp_path / "c-this", "full-lab", "local").took["install-istio"] == 14
    assert good.exists()
