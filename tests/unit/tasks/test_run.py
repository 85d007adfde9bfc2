from pathlib import Path

import pytest

from meshlab.core.errors import Interrupted
from meshlab.run.journal import RunRef, create
from meshlab.run.result_file import finish
from tasks.run import stop_of


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
