import http.server
import threading
from collections.abc import Iterator

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


def test_attempts_are_summed_by_endpoint_of_the_service() -> None:
    def host(address: str, **stats: str) -> dict:
        return {
            "address": {"socket_address": {"address": address, "port_value": 9080}},
            "stats": [{"name": name, "value": value} for name, value in stats.items()]
            + [{"name": "rq_error"}],
        }

    document = {
        "cluster_statuses": [
            {
                "name": "outbound|9080||productpage.default.svc.cluster.local",
                "host_statuses": [host("10.0.0.9", rq_total="31", rq_success="30")],
            },
            {
                "name": "outbound|9080||productpage.other.svc.cluster.local",
                "host_statuses": [host("10.0.0.8")],
            },
            {"name": "inbound|9080||", "host_statuses": [host("10.0.0.7", rq_total="9")]},
            {"name": "prometheus_stats"},
        ]
    }
    assert scrape.parse_clusters(document, "productpage.default.svc.cluster.local") == (
        scrape.Attempts("outbound|9080||productpage.default.svc.cluster.local", "10.0.0.9:9080", 31, 30, 0),
    )


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == scrape.STATS_PATH
            self.send_response(200 if found else 503)
            self.end_headers()
            self.wfile.write((RELEASE if found else "no healthy upstream").encode())

        def log_message(self, *args: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def test_a_page_is_fetched(server: str) -> None:
    assert scrape.fetch(server + scrape.STATS_PATH).text == RELEASE


def test_a_status_and_a_dead_port_are_errors_that_may_heal(server: str) -> None:
    with pytest.raises(QueryError, match="with 503: no healthy upstream") as caught:
        scrape.fetch(server + "/clusters")
    assert caught.value.retryable
    with pytest.raises(QueryError, match="did not answer"):
        scrape.fetch("http://127.0.0.1:9/stats", timeout=1)
