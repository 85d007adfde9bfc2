import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

import tasks.run
from meshlab.cli.launch import Launch, prepared
from meshlab.config.settings import HistorySettings, LabConfig, Machine
from meshlab.core import registry
from meshlab.core.errors import InputError, Interrupted
from meshlab.core.signals import ENDING, answer_signals, signals_raise
from meshlab.history.records import from_result
from meshlab.history.store import History
from meshlab.lifecycle.context import begin_context
from meshlab.report.html import write_report
from meshlab.report.markdown import summary_markdown
from meshlab.run.journal import RunRef, create, note_signal, noted_signal, read_journal, record
from meshlab.run.result_file import finish, schema, summarise
from tasks.common import lab_task
from tasks.run import (
    begin_run,
    judge_publishing,
    note_failure,
    publish_files,
    run_to_end,
    stop_of,
    write_again,
)


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return create(tmp_path, "nightly-validation")


def test_a_signal_is_no_failed_step(run: RunRef) -> None:
    assert stop_of(run, Interrupted(15)) == 15
    assert finish(run, signum=15)[1]["steps"] == []


def test_an_exit_without_a_signal_is_written_down_as_what_ended_the_run(run: RunRef) -> None:
    assert stop_of(run, SystemExit(1)) is None
    code, result = finish(run)
    assert code == 3
    assert "the Prefect worker that started it is gone" in result["steps"][-1]["reason"]


class Termination(BaseException):
    """Like Prefect's TerminationSignal: no Exception, and it names its signal."""

    signal = 15


def test_a_failure_that_took_the_place_of_a_signal_is_the_signal(run: RunRef) -> None:
    try:
        try:
            raise Termination
        except Termination:
            raise OSError("the server did not answer when it was told") from None
    except OSError as problem:
        assert note_failure(run, problem) == 15
    result, code = summarise(run, optional=(), signum=None)
    assert (code, result["verdict"]) == (143, "error")


@pytest.mark.parametrize(("problem", "code"), [(Interrupted(2), 130), (Termination(), 143)])
def test_a_signal_in_a_step_is_written_down_before_prefect_has_it(
    problem: BaseException, code: int, run: RunRef
) -> None:

    @lab_task("install-istio")
    def install(run: RunRef) -> None:
        raise problem

    with pytest.raises(type(problem)):
        install.fn(run)
    assert note_failure(run, ValueError("raised by whatever swallowed it")) == code - 128
    assert summarise(run, optional=(), signum=None)[1] == code


@pytest.fixture
def raising() -> Iterator[None]:
    """Signals raise in this process, and its handlers are put back."""
    before = {signum: signal.getsignal(signum) for signum in ENDING}
    signals_raise()
    yield
    answer_signals()
    for signum, handler in before.items():
        signal.signal(signum, handler)


def lose(signum: int) -> None:
    """A signal comes, and its exception is swallowed by whatever was running."""
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signum)


def test_a_signal_that_was_swallowed_ends_the_run_at_its_next_step(run: RunRef, raising: None) -> None:
    worked: list[str] = []

    @lab_task("install-istio")
    def install(run: RunRef) -> None:
        worked.append("installed")

    lose(signal.SIGTERM)
    with pytest.raises(Interrupted):
        install.fn(run)
    assert worked == [] and summarise(run, optional=(), signum=None)[1] == 143
    answer_signals()
    install.fn(run)
    assert worked == ["installed"], "what removes the lab begins steps of its own"


def test_a_signal_that_was_swallowed_in_the_last_step_ends_the_run_too(run: RunRef, raising: None) -> None:
    config = LabConfig(cluster="existing")
    begin_context(run, config, Machine.here())
    left: list[int | None] = []
    with pytest.raises(Interrupted):
        run_to_end(run, config, lambda: lose(signal.SIGINT), leave=left.append)
    assert left == [2] and summarise(run, optional=(), signum=None)[1] == 130


def test_a_flow_that_is_cut_off_as_it_begins_gives_back_what_was_prepared(
    run: RunRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody ends the cluster that the command line has started for it."""
    launch = Launch(LabConfig(cluster="existing"), run, None, Machine.here())

    def cut_off(machine: Machine) -> None:
        raise Interrupted(15)

    registry.put(launch)
    monkeypatch.setattr(tasks.run, "mark_orphans_crashed", cut_off)
    monkeypatch.setattr(tasks.run, "signals_raise", lambda: None)
    with pytest.raises(Interrupted):
        begin_run(launch.config, "nightly-validation")
    assert prepared() is launch


def test_a_signal_of_before_a_resume_is_not_the_later_runs(run: RunRef) -> None:
    note_signal(run, 15)
    record(run, {"event": "resumed", "from": None, "finished": []})
    assert noted_signal(run) is None and summarise(run, optional=(), signum=None)[1] != 143


def test_a_step_after_the_runs_end_is_in_the_result_all_the_same(run: RunRef, tmp_path: Path) -> None:
    """A deployment's run has nothing that writes the result again after its flow; the history keeps the run once."""
    path = tmp_path / "history.sqlite"
    config = LabConfig(cluster="existing", history=HistorySettings(path=path))
    begin_context(run, config, Machine.here())
    finish(run)
    record(run, {"event": "step", "name": "tell-people", "state": "done", "seconds": 0.1, "attempts": 1})
    state = write_again(run, config)
    written = json.loads((run.directory / "result.json").read_text())
    assert [(step["name"], step["state"]) for step in written["steps"]] == [("tell-people", "done")]
    assert state.is_failed() and written["verdict"] == "error", "nothing was proven"
    with History(path, create=False) as history:
        assert len(history.runs(flow="nightly-validation")) == 1


def publishing(place: Path) -> LabConfig:
    return LabConfig.model_validate({"report": {"publish": place.as_uri()}})


def test_a_published_report_is_linked_by_result_history_and_summary(run: RunRef, tmp_path: Path) -> None:
    _, result = finish(run)
    write_report(result, run.directory)
    assert not publish_files(run, LabConfig()) and "published" not in finish(run)[1]
    assert publish_files(run, publishing(tmp_path / "there"))
    there = tmp_path / "there" / run.run_id
    assert {each.name for each in there.iterdir()} == {"report.html", "junit.xml", "result.json"}
    _, result = finish(run)
    jsonschema.validate(result, schema())
    link = (there / "report.html").as_uri()
    assert result["published"] == link == from_result(result).published
    assert f"[{link}]({link})" in summary_markdown(result)


def test_a_worker_s_run_tries_the_place_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.run.create", lambda *_: pytest.fail("nothing is to be made"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no directory"):
        begin_run(publishing(tmp_path / "file"))
    judge_publishing(publishing(tmp_path / "there"))
    judge_publishing(LabConfig())


def test_a_report_that_can_not_be_published_is_a_warning(run: RunRef, tmp_path: Path) -> None:
    write_report(finish(run)[1], run.directory)
    (tmp_path / "file").write_text("")
    assert not publish_files(run, publishing(tmp_path / "file"))
    (told,) = [event["text"] for event in read_journal(run) if event["event"] == "warning"]
    assert "not published" in told and "published" not in finish(run)[1]
