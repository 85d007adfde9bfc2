"""A run's times, read out of its journal."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks import steps
from meshlab.core.errors import MeshlabError

BASELINE = Path(__file__).parents[2] / "golden" / "baseline" / "run"


def journal(folder: Path, *rows: tuple[str, float, float], ended: float) -> Path:
    """A run's directory: name, seconds of begin and end of each step."""

    def at(second: float) -> str:
        return f"2026-11-28T10:{int(second // 60):02}:{second % 60:06.3f}Z"

    events: list[dict[str, object]] = [
        {"at": at(0), "event": "run", "run_id": "r", "flow": "full-lab", "started": at(0)}
    ]
    for name, begin, end in sorted(rows, key=lambda row: row[2]):
        events.append({"at": at(end), "event": "step", "name": name, "state": "done", "seconds": end - begin})
    events.append({"at": at(ended), "event": "ended"})
    (folder / "evidence").mkdir(parents=True)
    (folder / "evidence" / "journal.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    return folder


def test_the_critical_path_is_what_the_end_waited_for(tmp_path: Path) -> None:
    run = steps.read(
        journal(
            tmp_path,
            ("up", 0, 10),
            ("install", 11, 20),
            ("prometheus", 20, 22),
            ("app", 20, 30),
            ("check", 30.5, 40),
            ended=41,
        )
    )
    assert [step.name for step in run.critical_path()] == ["up", "install", "app", "check"]
    assert run.between == pytest.approx(2.5)
    assert run.share_between == pytest.approx(2.5 / 41)


def test_what_nothing_of_the_lab_was_done_in_is_counted_though_a_step_reaches_over_it(tmp_path: Path) -> None:
    """The cluster is up after 4 s, the step that began with it goes on at 9 s; what runs beside covers nothing."""
    run = journal(tmp_path, ("start-cluster", 0, 10), ("mixed-traffic", 10, 30), ("load", 12, 30), ended=31)
    path = run / "evidence" / "journal.jsonl"
    first, *rest = path.read_text().splitlines(keepends=True)
    started = {"event": "step", "name": "start-cluster", "state": "started", "at": "2026-11-28T10:00:09.000Z"}
    path.write_text(first + json.dumps(started) + "\n" + "".join(rest))
    assert steps.read(run).between == pytest.approx(9 + 2 + 1)
    (run / "evidence" / "cluster-up.jsonl").write_text("{}\n")
    up = datetime(2026, 11, 28, 10, 0, 4, tzinfo=UTC).timestamp()
    os.utime(run / "evidence" / "cluster-up.jsonl", (up, up))
    assert steps.read(run).between == pytest.approx(5 + 2 + 1)
    assert steps.read(run).critical_path()[0].began == 0


def test_a_long_step_beside_others_is_the_path_where_it_ends_last(tmp_path: Path) -> None:
    run = steps.read(
        journal(tmp_path, ("up", 0, 5), ("load", 5, 30), ("check", 5, 9), ("rest", 30, 31), ended=31)
    )
    assert [step.name for step in run.critical_path()] == ["up", "load", "rest"]
    assert run.between == pytest.approx(0)


def test_the_baseline_is_read_though_it_was_cut_off(tmp_path: Path) -> None:
    shutil.copytree(BASELINE, tmp_path / "run")
    run = steps.read(tmp_path / "run")
    names = [step.name for step in run.critical_path()]
    assert run.flow == "full-lab"
    assert names[:3] == ["start-cluster", "find-istio", "install-istio"]
    assert names[-1] == "check-mtls"
    assert {"fast-load", "deploy-bookinfo"} <= {*names}
    assert "deploy-kiali" not in names
    assert "check-authz" not in [step.name for step in run.steps], "it was cut off"
    assert 0 < run.between < run.seconds
    assert "install-istio" in steps.path_table(run)


@pytest.mark.parametrize("content", [None, "", '{"event": "check"}'])
def test_what_is_no_run_is_told_with_a_remedy(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "evidence").mkdir()
    if content is not None:
        (tmp_path / "evidence" / "journal.jsonl").write_text(content)
    with pytest.raises(MeshlabError) as caught:
        steps.read(tmp_path)
    assert caught.value.remedy
