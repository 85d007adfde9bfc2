from typing import Any

import pytest

from meshlab.istio.mesh import Mesh
from meshlab.security.gateways.exit import EgressProbe, Passed
from meshlab.security.gateways.trials import Answer
from tests.fakes.kube import FakeExecStream, FakeKube, make_pod

PAGE = "productpage.shop:9080/productpage"


def way(*lines: str) -> EgressProbe:
    """An Exit whose caller's requests end as these lines say: `status seconds curl-code matched`."""
    kube = FakeKube(
        [
            make_pod("sleep-1", namespace="shop", labels={"app": "sleep"}),
            make_pod("plain-1", namespace="shop", labels={"app": "plaintext-caller"}),
        ]
    )
    kube.streams = [FakeExecStream([(1, f"R 1 {line}\n".encode())]) for line in lines]
    unused: Any = None
    return EgressProbe(kube, unused, unused, Mesh("shop"), "beyond")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("200 0.01 0 1", Answer("200", False)),
        ("502 0.01 0 0", Answer("refused: 502", True)),
        ("000 0.01 56 0", Answer("refused: connection reset", True)),
        ("000 0.01 52 0", Answer("refused: empty reply", True)),
        ("000 5.00 28 0", Answer("000, curl ended with 28", False)),
        ("000 0.01 6 0", Answer("000, curl ended with 6", False)),
        ("503 0.01 0 0", Answer("503", False)),
    ],
    ids=["passed", "no route", "reset", "closed", "timeout", "no such name", "no endpoint"],
)
def test_only_what_the_policy_answers_is_a_refusal(line: str, answer: Answer) -> None:
    assert way(line).undeclared(passes=False).ask() == answer


@pytest.mark.parametrize(
    ("line", "expected"), [("200 0.01 0 1", True), ("200 0.01 0 0", False), ("502 0.01 0 0", False)]
)
def test_what_must_pass_passes_with_the_destination_s_own_text(line: str, expected: bool) -> None:
    assert way(line).declared().ask().expected is expected


def test_every_trial_names_who_asks_for_what() -> None:
    exit_ = way()
    assert exit_.declared().request == "GET http://declared.beyond.svc.cluster.local/ from sleep-1"
    assert exit_.around().request.endswith("from plain-1")
    assert exit_.known().request == f"GET http://{PAGE} from sleep-1"


def test_counts_are_differences() -> None:
    assert Passed(7, 8) - Passed(2, 3) == Passed(5, 5)
