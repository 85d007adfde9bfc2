from __future__ import annotations

import pytest

from meshlab.core.errors import WaitTimeout
from meshlab.observability.addons.proxy_usage import read_usage
from meshlab.observability.addons.query import Sample
from tests.fakes.clock import FakeClock


class Prometheus:
    """Answers a query by the first word of the list that is in it."""

    def __init__(self, answers: dict[str, float]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def query(self, promql: str) -> list[Sample]:
        self.asked.append(promql)
        [word] = [word for word in self.answers if promql.startswith(word)]
        value = self.answers[word]
        return [Sample({}, value, 0.0)] if value >= 0 else []


FOUND = {
    "count(container_memory": 8.0,
    "sum(container_memory": 8 * 50 * 2**20,
    "sum(rate(container_cpu": 0.04,
    "sum(rate(istio_requests_total": 20.0,
}


def test_use_is_told_per_1000_requests_that_pass_a_sidecar() -> None:
    client = Prometheus(FOUND)
    usage = read_usage(client, "shop", ["web-1", "cart-1"], clock=FakeClock())  # type: ignore[arg-type]
    values = {m.name: (m.value, m.unit) for m in usage.measures()}
    assert values["proxy-cpu-per-1000rps"] == (2.0, "cores")
    assert values["proxy-memory"] == (50.0, "MiB")
    assert values["proxy-memory-per-1000rps"] == (20000.0, "MiB")
    assert all('"shop"' in query for query in client.asked)


def test_pods_that_are_gone_do_not_count_though_prometheus_still_answers_with_them() -> None:
    client = Prometheus(FOUND)
    read_usage(client, "shop", ["web-1", "cart-1"], clock=FakeClock())  # type: ignore[arg-type]
    of_pods = [query for query in client.asked if "container_" in query]
    assert len(of_pods) == 3 and all('pod=~"cart-1|web-1"' in query for query in of_pods)


@pytest.mark.parametrize("word", list(FOUND))
def test_what_has_no_data_is_named_at_the_deadline(word: str) -> None:
    with pytest.raises(WaitTimeout) as told:
        read_usage(Prometheus({**FOUND, word: -1.0}), "shop", ["web-1"], timeout=10, clock=FakeClock())  # type: ignore[arg-type]
    assert " 0" in told.value.last and "cAdvisor" in told.value.remedy
