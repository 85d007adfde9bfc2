from __future__ import annotations

import json
from dataclasses import replace

import pytest

from meshlab.app.background_traffic import BackgroundResult
from meshlab.app.loop import TrafficResult
from meshlab.checks.rotation import leaf, root
from meshlab.run.results import Verdict
from meshlab.security.rotation.drill import LATE, RENEWED_AFTER, TTL, Step


def result(sent: int, failed: int = 0, errors: tuple[str, ...] = ()) -> TrafficResult:
    by_status = {"200": sent - failed, **({"503": failed} if failed else {})}
    return TrafficResult(
        sent, by_status, {}, None, None, None, None, None, 10.0, 15.0, None, None, 0, errors
    )  # fmt: skip


def load(*results: TrafficResult) -> BackgroundResult:
    names = [f"stream-{index}" for index in range(len(results))]
    return BackgroundResult(dict(zip(names, results, strict=True)), dict.fromkeys(names, "200"))


GOOD = load(result(300), result(200))
DONE = Step("leaf", 11, 34.5, (), 201.0)
STEPS = [replace(DONE, name=name) for name in ("intermediate", "root", "put back")]


def test_all_renewed_and_no_request_failed_is_a_pass() -> None:
    found = leaf(DONE, GOOD)
    assert found.verdict is Verdict.PASS
    assert "11 proxies" in found.summary and "34 s" in found.summary and "0 of 500" in found.summary
    json.dumps(found.as_json())


def test_a_frozen_rotation_is_red_before_anything_expires() -> None:
    found = leaf(replace(DONE, seconds=None, late=("ratings-v1-1",), left=160.0), GOOD)
    assert (
        found.verdict is Verdict.FAIL and "ratings-v1-1" in found.summary and "160 s before" in found.summary
    )
    assert LATE + RENEWED_AFTER < TTL, "what is late is seen while its certificate is still valid"


@pytest.mark.parametrize("make", [lambda sent: leaf(DONE, sent), lambda sent: root(STEPS, sent)])
def test_one_failed_request_is_a_failure(make: object) -> None:
    assert callable(make)
    found = make(load(result(300), result(200, failed=1)))
    assert found.verdict is Verdict.FAIL and "stream-1: 1 request of 200 failed" in found.summary
    assert make(load(result(300, errors=("a line is lost",)))).verdict is Verdict.INFRA_ERROR
    assert make(load(result(3))).verdict is Verdict.BROKEN


def test_every_step_of_the_root_has_its_seconds() -> None:
    found = root(STEPS, GOOD)
    assert found.verdict is Verdict.PASS and "intermediate 34 s, root 34 s, put back 34 s" in found.summary
    assert [row["step"] for row in found.evidence["steps"]] == ["intermediate", "root", "put back"]


def test_a_step_that_a_proxy_never_took_is_a_failure() -> None:
    found = root([STEPS[0], replace(STEPS[1], seconds=None, late=("sleep-1",))], GOOD)
    assert found.verdict is Verdict.FAIL and "root: 1 proxy of 11 never served" in found.summary


def test_no_proxy_is_no_proof() -> None:
    assert leaf(replace(DONE, proxies=0), GOOD).verdict is Verdict.BROKEN
