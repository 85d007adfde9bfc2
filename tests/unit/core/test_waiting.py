import threading

import pytest

from meshlab.core.errors import ClusterError, QueryError, WaitTimeout
from meshlab.core.waiting import SystemClock, wait, wait_or_last
from tests.fakes.clock import FakeClock


class Answers:
    """Gives its answers in order, the last one for ever; an exception among them is raised."""

    def __init__(self, *answers) -> None:
        self.answers = answers
        self.asked = 0

    def __call__(self):
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


def pods(count: int) -> bool:
    return count >= 3


def test_the_state_that_was_awaited_is_returned() -> None:
    clock = FakeClock()
    assert wait("pods", Answers(0, 2, 3), ready=pods, timeout=10, delay=2, clock=clock) == 3
    assert clock.slept == [2, 2]


def test_what_is_ready_at_once_costs_no_time() -> None:
    clock = FakeClock()
    wait("pods", Answers(3), ready=pods, timeout=0, clock=clock)
    assert clock.slept == []


def test_a_timeout_names_what_was_awaited_the_last_state_and_its_cause() -> None:
    asked = []

    def explain() -> str:
        asked.append(True)
        return "reviews-v1: image can't be pulled"

    with pytest.raises(WaitTimeout) as caught:
        wait(
            "3 Ready pods",
            Answers(0, 1, 2),
            ready=pods,
            timeout=7,
            delay=3,
            describe=lambda n: f"{n} of 3 Ready",
            explain=explain,
            remedy="look at the pods",
            clock=FakeClock(),
        )
    assert caught.value.message == (
        "waited 7 s for 3 Ready pods; last seen: 2 of 3 Ready; reviews-v1: image can't be pulled"
    )
    assert caught.value.remedy == "look at the pods"
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("answers", "own", "remedy"),
    [
        ((0, QueryError("no pod is Ready", remedy="start it")), "", "start it"),
        ((0, QueryError("no pod is Ready", remedy="start it")), "look at the addon", "look at the addon"),
        ((QueryError("no pod is Ready", remedy="start it"), 0), "", WaitTimeout.usual_remedy),
        ((QueryError("no pod is Ready"),), "", WaitTimeout.usual_remedy),
    ],
)
def test_a_timeout_tells_what_to_do_about_what_was_seen_last(answers: tuple, own: str, remedy: str) -> None:
    with pytest.raises(WaitTimeout) as caught:
        wait("pods", Answers(*answers), ready=pods, timeout=5, delay=2, remedy=own, clock=FakeClock())
    assert caught.value.remedy == remedy


def test_what_is_judged_after_the_deadline_is_what_was_seen_last() -> None:
    assert wait_or_last("pods", Answers(3), ready=pods, timeout=5, clock=FakeClock()) == 3
    assert wait_or_last("pods", Answers(0, 1, 2), ready=pods, timeout=5, delay=2, clock=FakeClock()) == 2


def test_what_stopped_answering_is_not_judged_by_what_it_said_before() -> None:
    answers = Answers(2, QueryError("no pod is Ready"))
    with pytest.raises(WaitTimeout) as caught:
        wait_or_last("pods", answers, ready=pods, timeout=5, delay=2, clock=FakeClock())
    assert caught.value.last == "no pod is Ready"


def test_the_last_look_is_at_the_deadline() -> None:
    clock, probe = FakeClock(), Answers(0)
    with pytest.raises(WaitTimeout):
        wait("pods", probe, ready=pods, timeout=5, delay=2, clock=clock)
    assert clock.slept == [2, 2, 1]
    assert probe.asked == 4


def test_a_cause_that_can_not_be_found_does_not_hide_the_timeout() -> None:
    def explain() -> str:
        raise QueryError("the API server does not answer")

    with pytest.raises(WaitTimeout) as caught:
        wait("pods", Answers(0), ready=pods, timeout=1, explain=explain, clock=FakeClock())
    assert caught.value.last.startswith("0; ")
    assert caught.value.last.endswith("the API server does not answer")


def test_good_answers_must_come_in_a_row() -> None:
    probe = Answers(3, 3, 0, 3, 3, 3)
    wait("pods", probe, ready=pods, timeout=60, successes=3, clock=FakeClock())
    assert probe.asked == 6


def test_a_retryable_error_breaks_the_row_and_is_the_last_state() -> None:
    probe = Answers(3, QueryError("no answer"), 3, 3)
    wait("pods", probe, ready=pods, timeout=60, successes=2, clock=FakeClock())
    assert probe.asked == 4
    with pytest.raises(WaitTimeout) as caught:
        wait("pods", Answers(QueryError("no answer")), ready=pods, timeout=1, clock=FakeClock())
    assert caught.value.last == "no answer"


def test_a_state_that_can_not_heal_ends_the_wait_at_once() -> None:
    clock = FakeClock()
    with pytest.raises(ClusterError, match="etcd exited"):
        wait(
            "the cluster",
            Answers("starting", "dead", "starting"),
            ready=lambda state: state == "up",
            error=lambda state: ClusterError("etcd exited") if state == "dead" else None,
            timeout=60,
            delay=1,
            clock=clock,
        )
    assert clock.slept == [1]


@pytest.mark.parametrize("problem", [ClusterError("refused"), KeyError("a defect")])
def test_other_errors_of_the_probe_pass_through(problem: Exception) -> None:
    with pytest.raises(type(problem)):
        wait("pods", Answers(problem), ready=pods, timeout=60, clock=FakeClock())


def test_only_changes_are_told() -> None:
    told: list[str] = []
    wait(
        "pods", Answers(0, 0, 1, 1, 1, 0, 3), ready=pods, timeout=60, on_change=told.append, clock=FakeClock()
    )
    assert told == ["0", "1", "0"]


def test_a_stop_event_ends_the_clock_s_sleep() -> None:
    stop = threading.Event()
    stop.set()
    SystemClock(stop).sleep(3600)  # would hold the tests for an hour


def test_the_system_clock_goes_forward() -> None:
    clock = SystemClock()
    before = clock.now()
    clock.sleep(0.001)
    assert clock.now() > before
