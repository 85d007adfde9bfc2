"""How a Prometheus scrapes our pods is read from its series, whatever it calls pods and however often it looks."""

from __future__ import annotations

import pytest
import yaml

from meshlab.observability.addons.query import Sample
from meshlab.observability.addons.scraping import REPORTERS, USUAL, Scraping, read_scraping, scrape_job
from tests.fakes.clock import FakeClock
from tests.fakes.prometheus import FakePrometheus

COUNT = "count(up)"
REQUESTS = 'count(istio_requests_total{destination_workload_namespace="shop"})'


def scraping(labels: dict[str, str], interval: float, *, others: int = 3) -> FakePrometheus:
    clock = FakeClock(start=200.0)
    found = FakePrometheus(clock, interval=interval)
    if labels:
        found.add(1.0, __name__="up", **labels)
    found.answers = {COUNT: lambda at: [Sample({}, others, at)] if others else [], REQUESTS: lambda at: []}
    return found


def read(client: FakePrometheus) -> Scraping | None:
    return read_scraping(client, "shop", ["sleep-1", "web-1"], timeout=30, clock=client.clock)


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ({"pod": "sleep-1", "namespace": "shop"}, Scraping(30.0, "pod", "namespace")),
        (
            {"kubernetes_pod_name": "sleep-1", "kubernetes_namespace": "shop"},
            Scraping(30.0, "kubernetes_pod_name", "kubernetes_namespace"),
        ),
        ({"pod_name": "web-1", "namespace": "shop"}, Scraping(30.0, "pod_name", "namespace")),
        ({"pod": "agent", "namespace": "monitoring", "exported_pod": "web-1", "exported_namespace": "shop"},
         Scraping(30.0, "exported_pod", "exported_namespace")),
        ({"pod": "web-1"}, Scraping(30.0, "pod", "")),
    ],
)  # fmt: skip
def test_interval_and_labels_are_read(labels: dict[str, str], wanted: Scraping) -> None:
    assert read(scraping(labels, 30.0)) == wanted


DROP = {"source_labels": ["reporter"], "regex": "destination", "action": "drop"}
KEEP = {"source_labels": ["__name__", "reporter"], "regex": "istio_.+;destination", "action": "keep"}
OTHER = {"source_labels": ["reporter", "response_code"], "regex": "destination;503", "action": "drop"}


@pytest.mark.parametrize(
    ("job", "rules", "kept"),
    [
        ("ours", [], REPORTERS),
        ("ours", [DROP], ("source",)),
        ("ours", [KEEP], ("destination",)),
        ("ours", [OTHER], REPORTERS),  # drops a few, not the side
        ("ours", [DROP, {**DROP, "regex": "source"}], REPORTERS),  # keeps nothing: the checks say so
        ("ours", [{**DROP, "regex": "("}], REPORTERS),
        ("another", [DROP], REPORTERS),
    ],
)
def test_the_side_that_the_scrape_job_drops_is_read_from_its_configuration(
    job: str, rules: list[dict[str, object]], kept: tuple[str, ...]
) -> None:
    client = scraping({"pod": "sleep-1", "namespace": "shop", "job": "ours"}, 30.0)
    configured = {"scrape_configs": [{"job_name": job, "metric_relabel_configs": rules}, {"job_name": "x"}]}
    client.configuration = lambda: yaml.safe_dump(configured)  # type: ignore[attr-defined]
    found = read(client)
    assert found is not None and found.reporters == kept


def test_waits_have_time_for_rare_scrapes_and_no_less_than_was_set() -> None:
    assert Scraping(60.0).patient(60.0) > 3 * 60
    assert Scraping(5.0).patient(60.0) == 60.0


def test_one_that_scrapes_other_things_only_is_told_from_one_that_scrapes_nothing() -> None:
    other = {"pod": "node-exporter", "namespace": "monitoring"}
    assert read(scraping(other, 30.0)) is None
    assert read(scraping({}, 30.0, others=0)) == USUAL, "broken, which each check says"
    kept = scraping(other, 30.0)
    kept.answers[REQUESTS] = lambda at: [Sample({}, 4, at)]
    assert read(kept) == USUAL, "by a collector whose own `up` names no pod"


def test_the_job_that_mends_it_is_shown_whole() -> None:
    assert "job_name: istio-sidecars" in scrape_job() and "/stats/prometheus" in scrape_job()
