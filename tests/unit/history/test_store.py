import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import validate

from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import HistoryError
from meshlab.history.records import Alert, from_result
from meshlab.history.store import History, cluster_key, history_path
from meshlab.run.result_file import schema
from tests.examples.nights import night

BASELINE = Path(__file__).parents[2] / "golden" / "baseline" / "history.sql"
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


def test_runs_are_chosen_by_flow_and_cluster_oldest_first(tmp_path: Path) -> None:
    with History(tmp_path / "history.sqlite") as history:
        for number in (3, 1, 2, 0):
            history.record(from_result(night(number)))
        history.record(from_result(night(4, flow="full-lab")))
        assert [run.run_id[-4:] for run in history.runs(flow="nightly-validation")] == [
            "0000",
            "0001",
            "0002",
            "0003",
        ]
        assert [run.run_id[-4:] for run in history.runs_until(history.runs()[2].run_id)] == [
            "0000",
            "0001",
            "0002",
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


ALERT = Alert("run-red:r1", False, "nightly on a/b", "t", "m", "c", "2026-03-01T02:30:00.000Z")


def test_an_alert_waits_until_it_got_through_and_one_process_sends_it(tmp_path: Path) -> None:
    with History(tmp_path / "history.sqlite") as history, History(tmp_path / "history.sqlite") as other:
        assert history.post_alert(ALERT)
        assert not other.post_alert(ALERT)
        assert history.claim_alert(at="2026-03-02T00:01", stale="2026-03-02T00:00") == ALERT
        assert other.claim_alert(at="2026-03-02T00:01", stale="2026-03-02T00:00") is None
        history.settle_alert(ALERT, sent="")  # it did not get through
        assert other.claim_alert(at="2026-03-02T00:02", stale="2026-03-02T00:01") == ALERT
        # That process is killed before it can say whether the message got through.
        assert history.claim_alert(at="2026-03-02T09:00", stale="2026-03-02T08:59") == ALERT
        history.settle_alert(ALERT, sent="2026-03-02T09:00")
        assert other.claim_alert(at="2026-03-03", stale="2026-03-03") is None
        assert other.alerts() == [replace(ALERT, sent="2026-03-02T09:00")]


def test_a_file_of_version_1_is_brought_up_with_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(BASELINE.read_text())
    with History(path, create=False) as history:
        known = history.runs()
    path.unlink()
    [run] = known
    with sqlite3.connect(path) as db:
        db.executescript(BASELINE.read_text())
        db.executescript(f"""
            DROP TABLE alerts;
            CREATE TABLE alerts (incident VARCHAR NOT NULL, ended BOOLEAN NOT NULL, at VARCHAR NOT NULL,
                                 text TEXT NOT NULL, PRIMARY KEY (incident, ended));
            INSERT INTO alerts VALUES ('run-red:{run.run_id}', 0, '2026-03-01T02:33:00.000Z', 'failed');
            PRAGMA user_version = 1;""")
    for _ in range(2):
        with History(path, create=False) as history:
            assert history.runs() == [run] and len(run.checks) == 8
            [alert] = history.alerts()
    assert alert.series == f"{run.flow} on {run.provider}/{run.cluster}"
    assert (alert.text, alert.sent) == ("failed", "2026-03-01T02:33:00.000Z")  # was written when it was sent


def test_another_program_s_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    for create in (True, False):
        with pytest.raises(HistoryError, match="another program's database"):
            History(path, create=create)
    assert path.read_bytes() == before


def test_many_that_open_a_new_file_at_once_all_get_it(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"

    def look(_: int) -> int:
        with History(path) as history:
            return len(history.runs())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(look, range(16))) == [0] * 16


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
    (tmp_path / "empty").touch()
    with pytest.raises(HistoryError, match="there is no history"):
        History(tmp_path / "empty", create=False)
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


def test_the_share_of_faults_that_were_caught_is_a_measure() -> None:
    def catch(*red: str) -> dict:
        return {"fault": "f", "must": ["a", "b"], "may": ["c"], "red": list(red), "restored": True}

    def score(*catches: dict) -> list[float]:
        record = from_result({**night(0, MEASURES), "catches": list(catches)})
        return [each.value for each in record.measures if each.name == "mutation-score"]

    assert score(catch("a", "b"), catch("a", "b", "c"), catch("a"), catch()) == [50.0]
    assert score() == []
