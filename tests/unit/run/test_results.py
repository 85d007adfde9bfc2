import pytest

from meshlab.run.results import CheckResult, StepRecord, Verdict, exit_code, settle_skips, verdict_of

DONE, FAILED, SKIPPED = (StepRecord(state, state, 1.0) for state in ("done", "failed", "skipped"))


def check(verdict: str, name: str = "a.b", **more) -> CheckResult:
    return CheckResult(name, "A check", Verdict(verdict), "1 seen", **more)


@pytest.mark.parametrize(
    ("verdicts", "steps", "signum", "code"),
    [
        (["pass"], [DONE], None, 0),
        (["pass", "skipped"], [DONE, SKIPPED], None, 0),
        (["pass", "infra-error"], [DONE], None, 3),
        (["pass"], [DONE, FAILED], None, 3),
        ([], [DONE], None, 3),
        (["skipped"], [DONE], None, 3),
        (["pass", "fail", "infra-error"], [FAILED], None, 1),
        (["broken", "fail", "infra-error", "pass"], [FAILED], None, 1),
        (["broken", "infra-error", "pass"], [FAILED], None, 4),
        (["broken"], [DONE], None, 4),
        (["pass"], [DONE], 2, 130),
        (["broken", "fail"], [FAILED], 15, 143),
        ([], [], 15, 143),
    ],
)
def test_the_first_that_holds_is_the_exit_code(
    verdicts: list[str], steps: list[StepRecord], signum: int | None, code: int
) -> None:
    assert exit_code([check(verdict) for verdict in verdicts], steps, signum) == code


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(0, "pass"), (1, "fail"), (3, "error"), (4, "error"), (130, "error"), (143, "error")],
)
def test_every_exit_code_has_its_verdict(code: int, verdict: str) -> None:
    assert verdict_of(code) == verdict


def test_only_skips_that_nobody_wanted_become_infra_errors() -> None:
    settled = settle_skips(
        [
            check("skipped", "kiali.graph", reason="no Kiali here"),
            check("skipped", "teardown.nothing-left", reason="--keep", asked_for=True),
            check("skipped", "prometheus.targets", reason="no Prometheus"),
            check("fail", "mtls.refusal"),
        ],
        ["kiali.graph"],
    )
    assert [str(each.verdict) for each in settled] == ["skipped", "skipped", "infra-error", "fail"]
    assert settled[2].reason == "no Prometheus"
    assert exit_code(settled[:3], [DONE]) == 3


def test_what_is_no_pass_always_says_why() -> None:
    assert check("fail").as_json()["reason"] == "1 seen"
    assert check("fail", reason="two are missing").as_json()["reason"] == "two are missing"
    assert check("pass").as_json()["reason"] is None
    assert "asked_for" not in check("skipped", asked_for=True).as_json()


@pytest.mark.parametrize("verdict", ["fail", "broken", "infra-error"])
def test_what_is_wrong_always_says_what_to_do(verdict: str) -> None:
    usual = check(verdict).as_json()["remedy"]
    assert usual and usual == check(verdict, remedy="").as_json()["remedy"]
    assert check(verdict, remedy="install it").as_json()["remedy"] == "install it"


@pytest.mark.parametrize("verdict", ["pass", "skipped"])
def test_what_is_not_wrong_needs_no_remedy(verdict: str) -> None:
    assert check(verdict).as_json()["remedy"] is None


def test_a_skip_that_nobody_wanted_says_what_to_do() -> None:
    settled = settle_skips([check("skipped", "prometheus.targets", reason="no Prometheus")], [])
    assert settled[0].as_json()["remedy"]
