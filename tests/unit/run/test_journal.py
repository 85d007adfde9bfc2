import json
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from meshlab.core.errors import Interrupted, MeshlabError
from meshlab.core.progress import Update
from meshlab.run.journal import (
    RunRef,
    create,
    ended,
    listening,
    new_run_id,
    note_end,
    now,
    read_journal,
    record,
    record_check,
    record_measures,
    report_progress,
    skip_step,
    step,
    unwritten,
)
from meshlab.run.results import CheckResult, Measure, Verdict


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return create(tmp_path / "runs", "full-lab", run_id="20260102t030405z-abcd")


def steps(run: RunRef) -> list[tuple]:
    return [
        (event["name"], event["state"], event["attempts"], event.get("reason"))
        for event in read_journal(run)
        if event["event"] == "step"
    ]


def test_a_run_begins_with_its_folders_and_its_first_line(run: RunRef, tmp_path: Path) -> None:
    assert run.directory == tmp_path / "runs" / "20260102t030405z-abcd"
    assert sorted(path.name for path in run.directory.iterdir()) == ["evidence", "pictures"]
    [first] = read_journal(run)
    assert (first["event"], first["run_id"], first["flow"]) == ("run", run.run_id, "full-lab")
    assert first["started"] == run.started


def test_names_of_runs_sort_by_time_and_moments_are_rfc_3339() -> None:
    assert re.fullmatch(r"\d{8}t\d{6}z-[0-9a-f]{4}", new_run_id())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", now())


def test_a_directory_that_can_not_be_made_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MeshlabError, match="can't be made: Not a directory") as caught:
        create(tmp_path / "file", "full-lab")
    assert "--runs-dir" in caught.value.remedy


def test_a_step_is_written_when_it_begins_and_when_it_ends(run: RunRef) -> None:
    with step(run, "install-istio", attempt=2):
        assert steps(run) == [("install-istio", "started", 2, None)]
    assert steps(run)[1:] == [("install-istio", "done", 2, None)]
    skip_step(run, "uninstall", "--keep")
    assert steps(run)[2:] == [("uninstall", "skipped", 0, "--keep")]


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (MeshlabError("it broke", remedy="mend it"), "it broke\n  remedy: mend it"),
        (ValueError(), "ValueError"),
        (Interrupted(15), "interrupted by signal 15"),
    ],
)
def test_a_step_that_fails_says_why_and_lets_the_problem_pass(
    run: RunRef, problem: BaseException, reason: str
) -> None:
    with pytest.raises(type(problem)), step(run, "install-istio"):
        raise problem
    assert steps(run)[-1] == ("install-istio", "failed", 1, reason)


def test_a_step_that_began_before_this_process_counts_from_there(run: RunRef) -> None:
    with step(run, "cluster", began=1.0):  # a second after the epoch
        pass
    assert read_journal(run)[-1]["seconds"] > 50 * 365 * 86400


def test_a_line_that_a_crash_cut_short_costs_no_other_line(run: RunRef) -> None:
    with run.journal.open("a") as sink:
        sink.write('{"event":"step","name":"cut')
    assert [event["event"] for event in read_journal(run)] == ["run"]
    skip_step(run, "after", "the crash")
    assert [event.get("name") for event in read_journal(run)] == [None, "after"]


def test_whatever_a_check_saw_is_written_as_strict_json(run: RunRef) -> None:
    odd: dict[Any, Any] = {
        "nan": float("nan"),
        "high": float("inf"),
        "low": float("-inf"),
        "path": Path("/a"),
        "set": {1},
        ("a", 1): (1, 2),
        "text": "tab\t nul\0 line\u2028 end \udcff",
    }
    record_check(run, CheckResult("a.b", "A check", Verdict.PASS, "1 seen", evidence=odd))

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    last = json.loads(run.journal.read_text().splitlines()[-1], parse_constant=refuse)
    assert last["evidence"] == {
        "nan": "NaN",
        "high": "+Inf",
        "low": "-Inf",
        "path": "/a",
        "set": [1],
        "('a', 1)": [1, 2],
        "text": odd["text"],
    }
    assert last["verdict"] == "pass"


def test_a_measure_of_nothing_is_left_out(run: RunRef) -> None:
    record_measures(run, Measure("p99", float("nan"), "ms"), Measure("p50", 3.5, "ms", {"loop": "fast"}))
    found = [event for event in read_journal(run) if event["event"] == "measure"]
    assert [(event["name"], event["value"], event["labels"]) for event in found] == [
        ("p50", 3.5, {"loop": "fast"})
    ]


def test_listeners_hear_events_and_progress_while_they_listen(run: RunRef) -> None:
    events: list[str] = []
    updates: list[Update] = []
    with listening(lambda event: events.append(event["event"]), updates.append):
        record(run, {"event": "facts", "facts": {}})
        report_progress(Update("compile", 1, 2))
    record(run, {"event": "facts", "facts": {}})
    report_progress(Update("compile", 2, 2))
    assert events == ["facts"]
    assert updates == [Update("compile", 1, 2)]


@contextmanager
def no_room_beyond(size: int) -> Iterator[None]:
    """Files of this process can't grow beyond so many bytes: what a full disk does, without a disk of its own."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_no_event_and_what_was_held_is_written_when_there_is_room(run: RunRef) -> None:
    room = run.journal.stat().st_size + 20  # less than a line
    with no_room_beyond(room):
        with step(run, "deploy"):
            pass
        assert unwritten(run) and run.journal.stat().st_size < room
        assert [(name, state) for name, state, *_ in steps(run)] == [
            ("deploy", "started"),
            ("deploy", "done"),
        ]
    skip_step(run, "later", "room again")
    assert not unwritten(run)
    assert [line["event"] for line in map(json.loads, run.journal.read_text().splitlines())] == [
        "run"
    ] + 3 * ["step"]


def test_a_run_does_not_begin_where_nothing_can_be_written(tmp_path: Path) -> None:
    with no_room_beyond(10), pytest.raises(MeshlabError, match="nothing can be written") as caught:
        create(tmp_path / "runs", "full-lab")
    assert "--runs-dir" in caught.value.remedy


def test_a_run_has_ended_until_it_is_taken_up_again(run: RunRef) -> None:
    assert not ended(run)
    note_end(run)
    record(run, {"event": "warning", "text": "Prefect was not told"})
    assert ended(run)
    record(run, {"event": "resumed", "from": None, "finished": []})
    assert not ended(run)
