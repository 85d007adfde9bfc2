from meshlab.checks.envoy import scrape
from meshlab.checks.scrape import Sample
from meshlab.results import Verdict


def sample(reporter: str, value: float, family: str = "envoy_istio_requests_total") -> Sample:
    labels = {"reporter": reporter, "source_workload": "sleep", "response_code": "200"}
    return Sample("istio_requests_total", labels, value, family)


def test_the_evidence_says_which_form_is_exported() -> None:
    result = scrape("productpage-1", [sample("destination", 6), sample("source", 4)], lines=900)
    assert result.verdict is Verdict.PASS
    assert result.summary == (
        "productpage-1: 2 series of envoy_istio_requests_total, 6 requests received, 900 lines"
    )
    assert result.evidence["series"][0]["source"] == "sleep"
    release = scrape("productpage-1", [sample("destination", 6, "istio_requests_total")], lines=9)
    assert release.evidence["family"] == ["istio_requests_total"]


def test_a_page_without_the_metric_fails() -> None:
    result = scrape("productpage-1", [], lines=12)
    assert result.verdict is Verdict.FAIL
    assert (
        "no istio_requests_total and no envoy_istio_requests_total on port 15090 (12 lines" in result.summary
    )


def test_requests_that_never_reached_it_are_no_proof() -> None:
    result = scrape("productpage-1", [sample("source", 4), sample("destination", 0)], lines=12)
    assert result.verdict is Verdict.FAIL
    assert "none of a request that reached it" in result.summary
