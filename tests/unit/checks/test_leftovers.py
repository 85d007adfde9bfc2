from meshlab.checks.base import run_check
from meshlab.checks.leftovers import teardown_nothing_left, uninstall_nothing_left
from meshlab.core.errors import KubeError
from meshlab.run.results import Verdict
from tests.fakes.clock import FakeClock

BEFORE = {"CRDs": ("a.istio.io", "b.istio.io"), "namespaces": ("istio-system",), "webhooks": ()}
PURGED = {"CRDs": (), "namespaces": ("istio-system",), "webhooks": ()}
EMPTY = {"CRDs": (), "namespaces": (), "webhooks": ()}


class Inventories:
    """Answers in order, the last one for ever; an exception in the list is raised."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self):
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_nothing_left_is_seen_three_times_in_a_row() -> None:
    inventory = Inventories(PURGED, EMPTY, PURGED, EMPTY)
    result = uninstall_nothing_left(BEFORE, PURGED, inventory, clock=FakeClock())
    assert result.verdict is Verdict.PASS
    assert inventory.asked == 6  # the thing that came back starts the count anew
    assert result.summary == (
        "3 things of 2 kinds before, 1 left by the purge and removed, 0 after (3 looks in a row)"
    )
    assert result.evidence["before"] == {"CRDs": 2, "namespaces": 1, "webhooks": 0}
    assert {"stage": "left_by_purge", "kind": "namespaces", "name": "istio-system"} in result.evidence[
        "inventory"
    ]


def test_what_is_left_is_named() -> None:
    result = uninstall_nothing_left(BEFORE, PURGED, Inventories(PURGED), timeout=5, clock=FakeClock())
    assert result.verdict is Verdict.FAIL
    assert "1 left of 3" in result.summary and "namespaces 1" in result.summary
    assert result.evidence["problems"][1] == "namespaces istio-system"
    assert result.evidence["after"]["namespaces"] == 1


def test_an_inventory_that_found_nothing_before_proves_nothing() -> None:
    result = teardown_nothing_left(EMPTY, Inventories(EMPTY), clock=FakeClock())
    assert result.verdict is Verdict.BROKEN


def test_a_kept_lab_is_a_skip_that_was_asked_for() -> None:
    inventory = Inventories(AssertionError("must not be asked"))
    for result in (
        teardown_nothing_left(BEFORE, inventory, keep=True),
        uninstall_nothing_left(BEFORE, EMPTY, inventory, keep=True),
    ):
        assert result.verdict is Verdict.SKIPPED
        assert result.asked_for


def test_a_cluster_that_stops_answering_gives_no_verdict_about_it() -> None:
    gone = KubeError("no answer", retryable=True)
    result = run_check(
        "uninstall.nothing-left",
        uninstall_nothing_left,
        BEFORE,
        PURGED,
        Inventories(EMPTY, EMPTY, gone),
        timeout=5,
        clock=FakeClock(),
    )
    assert result.verdict is Verdict.INFRA_ERROR


def test_the_evidence_holds_some_names_of_each_kind_and_all_counts() -> None:
    many = {"cgroups": tuple(f"c{n}" for n in range(569))}
    result = teardown_nothing_left(many, Inventories({"cgroups": ()}), clock=FakeClock())
    assert result.evidence["before"] == {"cgroups": 569}
    assert len(result.evidence["inventory"]) == 41
    assert result.evidence["inventory"][-1]["name"] == "… and 529 more"


def test_what_an_uninstall_that_failed_left_is_named_beside_why_it_failed() -> None:
    hung = "a finalizer is served by nobody"
    left = uninstall_nothing_left(
        BEFORE, None, Inventories(PURGED), failure=hung, timeout=5, clock=FakeClock()
    )
    assert left.verdict is Verdict.FAIL
    assert "namespaces istio-system" in left.reason and hung in left.reason
    assert left.evidence["failure"] == hung and "left_by_purge" not in left.evidence
    gone = uninstall_nothing_left(BEFORE, None, Inventories(EMPTY), failure=hung, clock=FakeClock())
    assert gone.verdict is Verdict.PASS and hung in gone.summary
