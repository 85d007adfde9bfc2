import json
from dataclasses import replace

import pytest

from meshlab.checks import base
from meshlab.checks.bypass import CHECK, no_bypass
from meshlab.config.settings import LabConfig, SecuritySettings
from meshlab.run.results import Verdict
from meshlab.security.gateways.bypass import Ways
from meshlab.security.gateways.exit import Passed
from meshlab.security.gateways.trials import Tried
from tests.unit.checks.test_egress import tried

NAMES = ("a program of the proxy's user", "a pod without a sidecar", "an excluded port", "an address")


def ways(expected: str, *, bad: int = 0, through_bad: int = 0, answered: int, counted: int = 3) -> Ways:
    def asked(name: str, odd: int) -> Tried:
        return replace(tried(name, 3, bad=odd), expected=expected)

    around = tuple(asked(name, bad if index == 0 else 0) for index, name in enumerate(NAMES))
    through = replace(tried("through the egress gateway", 3, bad=through_bad), expected="200")
    return Ways(around, through, answered, Passed(counted, counted))


FREE = ways("200", answered=15)
HELD = ways("stopped", answered=3)


def test_four_ways_stopped_and_the_gateways_own_served_is_a_pass() -> None:
    result = no_bypass(FREE, HELD)
    assert result.verdict is Verdict.PASS, result
    assert "4 of 4 ways" in result.summary and "6 of 6 passed" in result.summary
    assert [len(result.evidence[key]) for key in ("without the policy", "with the policy")] == [5, 5]
    assert [row["destination"] for row in result.evidence["counted"]] == [15, 3]
    json.dumps(result.as_json())


@pytest.mark.parametrize("bad", [1, 3])
def test_a_way_that_is_served_once_is_a_failure(bad: int) -> None:
    result = no_bypass(FREE, ways("stopped", bad=bad, answered=3 + bad))
    assert result.verdict is Verdict.FAIL and NAMES[0] in result.summary
    assert "reached their destination" not in str(result.reason), "that it arrived is said once"


def test_what_the_caller_did_not_hear_of_and_yet_arrived_is_a_failure() -> None:
    result = no_bypass(FREE, replace(HELD, answered=5))
    assert result.verdict is Verdict.FAIL and "2 stopped requests" in result.summary


def test_a_policy_that_stops_the_gateways_own_way_is_a_failure() -> None:
    result = no_bypass(FREE, ways("stopped", through_bad=3, answered=0, counted=0))
    assert result.verdict is Verdict.FAIL and "through the egress gateway: expected 200" in result.summary


def test_the_own_way_must_really_lead_through_the_gateway() -> None:
    result = no_bypass(FREE, replace(HELD, passed=Passed(0, 0)))
    assert result.verdict is Verdict.FAIL and "counted 0 requests" in result.summary


@pytest.mark.parametrize(
    "free",
    [ways("200", bad=1, answered=14), ways("200", answered=12), ways("200", through_bad=1, answered=14)],
)
def test_without_its_control_a_stop_proves_nothing(free: Ways) -> None:
    assert no_bypass(free, HELD).verdict is Verdict.BROKEN


def test_it_is_made_where_it_is_asked_for() -> None:
    for bypass in (False, True):
        config = LabConfig(security=SecuritySettings(bypass=bypass))
        assert (CHECK in base.owed(config)) is bypass
        assert set(base.owed(LabConfig())) <= set(base.owed(config))
