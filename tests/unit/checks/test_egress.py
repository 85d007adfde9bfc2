import json
from dataclasses import replace
from typing import Any

import pytest

from meshlab.checks.egress import Closed, Declared, Open, blocked, gateway
from meshlab.run.results import Verdict
from meshlab.security.gateways.exit import Passed
from meshlab.security.gateways.trials import Answer, Tried


def tried(name: str, times: int, *, bad: int = 0) -> Tried:
    answers = [Answer("as it must", True)] * (times - bad) + [Answer("odd", False)] * bad
    return Tried(name, f"GET {name}", "this", tuple(answers))


FREE = Open(tried("undeclared host", 3), tried("direct", 3), answered=6)
HELD = Closed(tried("known", 3), tried("undeclared host", 3), tried("direct", 3), answered=0)
DECLARED = Declared(
    declared=tried("declared host", 5),
    passed=Passed(5, 5),
    answered=5,
    around=tried("around", 1),
    passed_around=Passed(0, 0),
    answered_around=1,
)


def test_refused_and_never_arrived_is_a_pass() -> None:
    result = blocked(FREE, HELD)
    assert result.verdict is Verdict.PASS
    assert "3 of 3" in result.summary
    assert [row["case"] for row in result.evidence["requests"]] == [
        "undeclared host, ALLOW_ANY",
        "known",
        "undeclared host",
    ]
    json.dumps(result.as_json())


@pytest.mark.parametrize(
    ("held", "says"),
    [
        (
            replace(HELD, undeclared=tried("undeclared host", 3, bad=3), answered=3),
            "undeclared host: expected",
        ),
        (replace(HELD, undeclared=tried("undeclared host", 3, bad=1), answered=1), "(2 of 3)"),
        (replace(HELD, answered=2), "2 refused requests reached their destination"),
    ],
)
def test_what_gets_out_is_a_failure(held: Closed, says: str) -> None:
    result = blocked(FREE, held)
    assert result.verdict is Verdict.FAIL
    assert says in str(result.reason)


def test_what_came_by_the_direct_path_is_not_of_the_undeclared_host() -> None:
    opened = replace(HELD, direct=tried("direct", 3, bad=3), answered=3)
    result = blocked(FREE, opened)
    assert result.verdict is Verdict.PASS and "0 reached" in result.summary
    assert blocked(FREE, replace(opened, answered=5)).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("free", "held"),
    [
        (replace(FREE, undeclared=tried("undeclared host", 3, bad=1)), HELD),
        (FREE, replace(HELD, known=tried("known", 3, bad=1))),
        (replace(FREE, answered=4), HELD),
    ],
)
def test_without_its_control_a_refusal_proves_nothing(free: Open, held: Closed) -> None:
    assert blocked(free, held).verdict is Verdict.BROKEN


def test_through_the_gateway_by_everybody_s_count() -> None:
    result = gateway(FREE, HELD, DECLARED)
    assert result.verdict is Verdict.PASS
    assert "5 counted" in result.summary
    assert "without a sidecar" in result.summary
    assert "NetworkPolicy" in result.evidence["by-pass that remains"]
    assert [row["destination"] for row in result.evidence["counted"]] == [5, 1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"passed": Passed(0, 0)}, "request metric rose by 0, 5 requests were sent"),
        ({"passed": Passed(5, 6)}, "count per endpoint rose by 6"),
        ({"answered": 4}, "answered 4 of 5"),
        ({"declared": tried("declared host", 5, bad=5)}, "declared host: expected"),
    ],
)
def test_another_way_or_none_is_a_failure(change: dict[str, Any], says: str) -> None:
    result = gateway(FREE, HELD, replace(DECLARED, **change))
    assert result.verdict is Verdict.FAIL
    assert says in str(result.reason)


def test_an_open_direct_path_is_a_failure() -> None:
    result = gateway(FREE, replace(HELD, direct=tried("direct, by address", 3, bad=3)), DECLARED)
    assert result.verdict is Verdict.FAIL
    assert "direct, by address" in result.summary


def test_a_direct_path_that_never_was_breaks_the_check() -> None:
    free = replace(FREE, direct=tried("direct, by address", 3, bad=3))
    assert gateway(free, HELD, DECLARED).verdict is Verdict.BROKEN


def test_a_closed_by_pass_is_told_as_such() -> None:
    result = gateway(FREE, HELD, replace(DECLARED, around=tried("around", 1, bad=1), answered_around=0))
    assert result.verdict is Verdict.PASS
    assert "no by-pass found" in result.summary
