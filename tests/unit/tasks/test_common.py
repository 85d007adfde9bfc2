from pathlib import Path

import pytest
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from meshlab.clusters.local.child import UpChild
from meshlab.core.errors import ClusterError, InputError, QueryError
from meshlab.run.journal import RunRef, create, read_journal
from tasks.common import lab_task, log_info, may_heal


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return create(tmp_path, "full-lab")


def ended(run: RunRef) -> dict:
    return read_journal(run)[-1]


def test_a_task_is_a_step_of_the_journal(run: RunRef) -> None:
    @lab_task("install-istio", retries=2)
    def install(run: RunRef, *, profile: str) -> str:
        return profile

    assert install.fn(run, profile="demo") == "demo"
    assert (ended(run)["name"], ended(run)["state"], ended(run)["attempts"]) == ("install-istio", "done", 1)
    assert (install.name, install.tags, install.retries) == ("install-istio", set(), 2)
    assert install.cache_policy == NO_CACHE


def test_a_failing_task_is_a_failed_step(run: RunRef) -> None:
    @lab_task("install-istio")
    def install(run: RunRef) -> None:
        raise ClusterError("no answer")

    with pytest.raises(ClusterError):
        install.fn(run)
    assert (ended(run)["state"], ended(run)["reason"]) == ("failed", "no answer")


def test_a_step_that_a_child_began_counts_from_there(run: RunRef) -> None:
    @lab_task("cluster")
    def cluster(run: RunRef, *, child: UpChild | None = None) -> None:
        """The cluster."""

    cluster.fn(run, child=UpChild(1, 1.0, Path("r"), Path("l")))
    assert ended(run)["seconds"] > 50 * 365 * 86400
    cluster.fn(run)
    assert ended(run)["seconds"] < 3600
    assert cluster.description == "The cluster."


@pytest.mark.parametrize(
    ("problem", "again"),
    [
        (QueryError("no answer"), True),
        (ClusterError("refused"), False),
        (ClusterError("busy", retryable=True), True),
        (InputError([]), False),
        (ValueError("a defect"), False),
    ],
)
def test_only_what_may_heal_is_tried_again(problem: Exception, again: bool) -> None:
    assert may_heal(None, None, Failed(data=problem)) is again  # type: ignore[arg-type]


def test_a_success_is_not_tried_again() -> None:
    assert may_heal(None, None, Completed(data="fine")) is False  # type: ignore[arg-type]


def test_a_word_outside_of_a_run_is_no_error() -> None:
    log_info("nobody listens")
