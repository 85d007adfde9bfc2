from meshlab.report.edge import edge_html
from tests.examples.results import FULL, check

ROW = {
    "case": "no token",
    "request": "GET https://token.meshlab.test/productpage",
    "expected": "403",
    "answers": "403 (3×)",
    "as expected": "3 of 3",
    "control": "valid token",
}


def test_every_request_stands_with_its_answer_and_its_control() -> None:
    told = edge_html(
        [
            check("ingress.jwt", "pass", "18 of 18", evidence={"requests": [ROW]}),
            check(
                "egress.gateway",
                "fail",
                "3 of 5 <passed>",
                evidence={
                    "requests": [{**ROW, "case": "declared host", "control": ""}],
                    "counted": [{"requests": "through", "sent": 5, "destination": 4}],
                    "by-pass that remains": "a pod without a sidecar",
                },
            ),
        ]
    )
    for text in (
        "no token",
        "403 (3×)",
        "valid token",
        "declared host",
        "a pod without a sidecar",
        "through",
    ):
        assert text in told
    assert "<passed>" not in told, "a summary is text, not markup"
    assert told.index("ingress.jwt") < told.index("egress.gateway")


def test_a_run_without_these_checks_has_no_such_section() -> None:
    assert edge_html(FULL["checks"]) == ""
    assert edge_html([check("ingress.jwt", "infra-error", "no gateway")]) == ""
