from meshlab.checks.envoy import scrape, scrape_pod
from meshlab.envoy.stats import Sample
from meshlab.run.results import Verdict
from tests.unit.checks.pods import pod


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
    assert "15090 (12 lines" in result.summary


def test_requests_that_never_reached_it_are_no_proof() -> None:
    result = scrape("productpage-1", [sample("source", 4), sample("destination", 0)], lines=12)
    assert result.verdict is Verdict.FAIL
    assert result.verdict is not Verdict.PASS and result.summary


class FakeReader:
    """One sidecar's page."""

    def stats_text(self, pod: str) -> str:
        assert pod == "productpage-1"
        return '# TYPE istio_requests_total counter\nistio_requests_total{reporter="destination"} 3\n'


def test_a_pod_is_read_and_judged_if_it_has_a_sidecar() -> None:
    result = scrape_pod(FakeReader(), pod("productpage-1"))  # type: ignore[arg-type]
    assert "1 series of istio_requests_total, 3 requests" in result.summary
    bare = scrape_pod(FakeReader(), pod("productpage-1", containers=("productpage",)))  # type: ignore[arg-type]
    assert bare.verdict is Verdict.FAIL
    assert "productpage-1" in bare.summary
