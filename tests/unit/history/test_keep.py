from pathlib import Path

import pytest

from meshlab.config.settings import LabConfig, Machine
from meshlab.history.keep import keep_run
from meshlab.history.store import History
from meshlab.run.journal import create, read_journal
from tests.examples.nights import night


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.here({"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")})


def test_a_run_is_kept_with_its_directory(tmp_path: Path, machine: Machine) -> None:
    run = create(tmp_path, "nightly-validation")
    assert keep_run(run, LabConfig(), machine, night(0))
    with History(machine.state / "history.sqlite") as history:
        assert history.runs()[0].directory == str(run.directory)


def test_a_broken_history_is_said_loudly_and_fails_nothing(
    tmp_path: Path, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    run, broken = create(tmp_path, "nightly-validation"), tmp_path / "broken"
    broken.write_bytes(b"no database" * 200)
    config = LabConfig.model_validate({"history": {"path": str(broken)}})
    assert keep_run(run, config, machine, night(0)) is False
    assert "not in the history" in caplog.text
    [warned] = [event for event in read_journal(run) if event["event"] == "warning"]
    assert str(broken) in warned["text"]
