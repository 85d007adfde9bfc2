"""Earlier runs beside this one tell how long its steps take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from meshlab.cli.earlier import NOTHING, RUNS, Earlier, earlier
from meshlab.run.compiles import COMPILE

FIRST = "compile cluster"


def _look(run: Path) -> Earlier:
    return earlier(run, "full-lab", "local")


def _at(second: float) -> str:
    return f"2026-11-28T10:{int(second // 60):02}:{second % 60:06.3f}Z"


def _write(runs: Path, name: str, *timed: tuple[float, Mapping[str, Any]]) -> Path:
    journal = runs / name / "evidence" / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("".join(json.dumps({"at": _at(second), **event}) + "\n" for second, event in timed))
    return runs / name


def _begin(flow: str, provider: str) -> list[tuple[float, Mapping[str, Any]]]:
    facts = {"cluster": {"provider": provider}}
    return [(0, {"event": "run", "flow": flow}), (0, {"event": "facts", "facts": facts})]


def _step(name: str, begin: float, end: float) -> tuple[float, Mapping[str, Any]]:
    return end, {"event": "step", "name": name, "state": "done", "seconds": end - begin}


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
    return _write(
        runs,
        name,
        *_begin(flow, provider),
        _step("start-cluster", 0, 10),
        (10, {"event": "step", "name": "install-istio", "state": "started"}),
        _step("install-istio", 10, 10 + install),
        (30 + install, {"event": last}),
    )


def _first_run(runs: Path, name: str, *, compiles: tuple[str, ...] = ("cluster", "jaeger")) -> Path:
    """A run of 1114 s, in which the cluster was compiled until 500 s, and Jaeger, beside a step, from 600 to 1000 s."""
    spans = {"cluster": (1, 500), "jaeger": (600, 1000)}
    events = [
        *_begin("full-lab", "local"),
        _step("start-cluster", 0, 510),
        _step("install-istio", 510, 524),
        _step("deploy-jaeger", 590, 1010),
        _step("gentle-load", 700, 1020),
        _step("check-mtls", 1030, 1040),
        (1114, {"event": "ended"}),
    ]
    for stage in compiles:
        begin, end = spans[stage]
        for moment, state in ((begin, "started"), (end, "done")):
            events.append((moment, {"event": COMPILE, "what": f"compile {stage}", "state": state}))
    return _write(runs, name, *sorted(events, key=lambda each: each[0]))


def test_the_median_of_the_newest_counts(tmp_path: Path) -> None:
    _run(tmp_path, "a-old", 900)
    for number, seconds in enumerate((14, 12, 30, 13, 15)):
        _run(tmp_path, f"b-{number}", seconds)
    assert RUNS == 5
    found = _look(tmp_path / "c-this")
    assert found.of(NOTHING).took == {"start-cluster": 10.0, "install-istio": 14.0}
    assert found.of(NOTHING).rest == {
        "start-cluster": pytest.approx(44.0),
        "install-istio": pytest.approx(34.0),
    }


def test_the_second_run_is_not_told_the_first_one_s_compile(tmp_path: Path) -> None:
    _first_run(tmp_path, "a-first")
    told = _look(tmp_path / "b-second").of(NOTHING)
    assert told.rest == {"check-mtls": pytest.approx(84)}, "what began after the last compile is known"
    assert told.took == {"check-mtls": pytest.approx(10)}


def test_the_third_run_is_told_the_second_one_s_time(tmp_path: Path) -> None:
    _first_run(tmp_path, "a-first")
    _run(tmp_path, "b-second", 14)
    found = _look(tmp_path / "c-third")
    told = found.of(NOTHING)
    assert told.rest["start-cluster"] == pytest.approx(44) and told.rest["check-mtls"] == pytest.approx(84)
    assert told.took["install-istio"] == 14
    assert found.of(FIRST).rest["start-cluster"] == pytest.approx(1114)


def test_a_run_that_compiles_everything_again_is_told_the_first_one_s_time(tmp_path: Path) -> None:
    """The pins have changed: many runs that compiled nothing stand between."""
    _first_run(tmp_path, "a-first")
    for number in range(2 * RUNS):
        _run(tmp_path, f"b-{number}", 14)
    found = _look(tmp_path / "c-this")
    assert found.of(FIRST).rest["start-cluster"] == pytest.approx(1114)
    assert found.of(NOTHING).rest["start-cluster"] == pytest.approx(44)


def test_a_run_that_compiled_one_addon_tells_nothing_of_one_that_compiled_all(tmp_path: Path) -> None:
    _first_run(tmp_path, "a-rest", compiles=("jaeger",))
    found = _look(tmp_path / "b-this")
    assert "start-cluster" not in found.of(FIRST).rest
    assert found.of("compile jaeger").rest["start-cluster"] == pytest.approx(1114)


def test_other_runs_and_this_one_do_not_count(tmp_path: Path) -> None:
    _run(tmp_path, "another-flow", 1, flow="nightly-validation")
    _run(tmp_path, "another-cluster", 1, provider="gke")
    _run(tmp_path, "killed", 1, last="signal")
    mine = _run(tmp_path, "mine", 1)
    assert _look(mine) == Earlier()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"event": "run"}', '{"event": "facts", "facts": 3}', "\xff"]
)
def test_what_can_not_be_read_keeps_nobody_from_running(tmp_path: Path, content: str) -> None:
    good = _run(tmp_path, "a-good", 14)
    bad = _run(tmp_path, "b-bad", 14)
    (bad / "evidence" / "journal.jsonl").write_text(content, encoding="latin-1")
    assert _look(tmp_path / "c-this").of(NOTHING).took["install-istio"] == 14
    assert good.exists()
