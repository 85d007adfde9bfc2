import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jsonschema import validate

from meshlab.errors import HistoryError
from meshlab.history.records import from_result
from meshlab.history.store import History, cluster_key, history_path
from meshlab.result_file import schema
from meshlab.settings import LabConfig, Machine
from tests.examples.nights import night

MEASURES = {
    "requests-sent{loop=fast}": (80.0, "requests"),
    "requests-ok{loop=fast}": (76.0, "requests"),
    "request-p99{loop=fast}": (12.5, "ms"),
}


def test_the_example_is_what_the_schema_allows() -> None:
    validate(night(0, MEASURES), schema())


def test_a_run_comes_back_as_it_was_and_twice_is_once(tmp_path: Path) -> None:
    record = from_result(night(0, MEASURES, findings=(("IST0133", "EnvoyFilter a/b"),)), "runs/x")
    with History(tmp_path / "deep" / "history.sqlite") as history:
        history.record(record)
        history.record(record)
        assert history.runs() == [record]
        assert history.run(record.run_id) == record
    assert record.seconds == 120
    assert {m.key: m.value for m in record.measures}["error-rate{loop=fast}"] == pytest.approx(5)
    assert [(f.code, f.resource) for f in record.findings] == [("IST0133", "EnvoyFilter a/b")]
    assert record.versions["istio.data_plane"] == "1.30.0"


def test_the_later_result_of_a_run_replaces_the_earlier(tmp_path: Path) -> None:
    with History(tmp_path / "history.sqlite") as history:
        history.record(from_result(night(0, checks={"a.b": "pass", "c.d": "pass"})))
        history.record(from_result(night(0, checks={"a.b": "fail"}, verdict="fail")))
        [run] = history.runs()
    assert run.verdict == "fail"
    assert {c.check_id: c.verdict for c in run.checks if "." in c.check_id and c.check_id < "d"} == {
        "a.b": "fail"
    }


def test_runs_are_chosen_by_flow_cluster_and_number_oldest_first(tmp_path: Path) -> None:
    with History(tmp_path / "history.sqlite") as history:
        for number in (3, 1, 2, 0):
            history.record(from_result(night(number)))
        history.record(from_result(night(4, flow="full-lab")))
        assert [run.run_id[-4:] for run in history.runs(flow="nightly-validation", last=2)] == [
            "0002",
            "0003",
        ]
        assert cluster_key(history.runs()[0]) == "existing/blue"
        assert len(history.runs(cluster="existing/blue")) == 5
        assert history.runs(cluster="local/blue") == []


def test_two_at_once_both_get_in(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"

    def write(number: int) -> None:
        with History(path) as history:
            history.record(from_result(night(number, MEASURES)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(16)))
    with History(path) as history:
        assert len(history.runs()) == 16


def test_an_alert_is_claimed_once_and_can_be_given_back(tmp_path: Path) -> None:
    with History(tmp_path / "history.sqlite") as history, History(tmp_path / "history.sqlite") as other:
        assert history.claim_alert("x", ended=False, at="t", message="m")
        assert not other.claim_alert("x", ended=False, at="t", message="m")
        assert other.claim_alert("x", ended=True, at="u", message="n")
        history.release_alert("x", ended=False)
        assert other.alerts() == [("x", True, "u", "n")]
        assert history.claim_alert("x", ended=False, at="t", message="m")


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 500])
def test_a_broken_file_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "history.sqlite"
    path.write_bytes(content)
    with pytest.raises(HistoryError, match="can't be opened") as told:
        History(path)
    assert str(path) in told.value.message and told.value.remedy
    assert path.read_bytes() == content


def test_a_file_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(HistoryError, match="version 99"):
        History(path)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="there is no history"):
        History(tmp_path / "nope", create=False)
    with History(tmp_path / "history.sqlite") as history, pytest.raises(HistoryError, match="no run 'x'"):
        history.run("x")
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match="can't be opened"):
        History(tmp_path / "file" / "below" / "history.sqlite")


def test_the_path_is_a_setting_with_a_default_in_the_state_folder(tmp_path: Path) -> None:
    machine = Machine.here({"HOME": "/home/x", "XDG_STATE_HOME": "/state"})
    assert history_path(LabConfig(), machine) == Path("/state/meshlab/history.sqlite")
    named = LabConfig.model_validate({"history": {"path": str(tmp_path / "h")}})
    assert history_path(named, machine) == tmp_path / "h"
