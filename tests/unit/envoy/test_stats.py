import pytest

from meshlab.core.errors import QueryError
from meshlab.envoy import stats as scrape

EMBEDDED = """# TYPE envoy_istio_requests_total counter
envoy_istio_requests_total{reporter="destination",source_peer="sleep;default;sleep;latest;Kubernetes",\
destination_app="productpage",destination_service="productpage.default.svc.cluster.local",response_code="200",\
connection_security_policy="mutual_tls"} 6
envoy_istio_requests_total{reporter="source",source_workload="productpage-v1",\
destination_peer="details-v1;default;details;;Kubernetes",response_code="200"} 4
# TYPE envoy_istio_requests_totally_other counter
envoy_istio_request_bytes_bucket{le="0.5"} 0
# TYPE envoy_server_live gauge
envoy_server_live{} 1
"""
RELEASE = """# TYPE istio_requests_total counter
istio_requests_total{reporter="source",source_workload="sleep",source_workload_namespace="default",\
source_app="sleep",destination_workload="productpage-v1",destination_app="productpage",response_code="200"} 12
"""


def test_the_embedded_form_becomes_the_standard_one() -> None:
    inbound, outbound = scrape.parse_stats(EMBEDDED)
    assert (inbound.name, inbound.family, inbound.value) == (
        "istio_requests_total",
        "envoy_istio_requests_total",
        6.0,
    )
    assert inbound.get("source_workload") == inbound.get("source_app") == "sleep"
    assert inbound.get("source_workload_namespace") == "default"
    assert inbound.get("source_version") == inbound.get("source_canonical_revision") == "latest"
    assert inbound.get("source_cluster") == "Kubernetes"
    assert "source_peer" not in inbound.labels
    assert outbound.get("destination_workload") == "details-v1"
    assert "destination_version" not in outbound.labels  # an empty field gives no label


def test_the_release_form_is_kept() -> None:
    (sample,) = scrape.parse_stats(RELEASE)
    assert sample.family == sample.name == "istio_requests_total"
    assert sample.series.startswith('istio_requests_total{destination_app="productpage",')
    assert scrape.families([sample]) == ("istio_requests_total",)


def test_a_peer_that_is_unknown_gives_no_labels() -> None:
    assert scrape.standard_labels({"destination_peer": "-", "reporter": "source"}) == {"reporter": "source"}


def test_nothing_counted_is_no_sample() -> None:
    assert scrape.parse_stats("# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n") == ()


def test_what_is_no_exposition_is_refused() -> None:
    with pytest.raises(QueryError, match="can't be parsed"):
        scrape.parse_stats("istio_requests_total{ 12 <html>")
