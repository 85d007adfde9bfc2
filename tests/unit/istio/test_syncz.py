"""Where istiod tells istioctl of the proxies of one namespace only, it is asked itself for the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from meshlab.core.errors import QueryError
from meshlab.istio.istioctl import Istioctl, ProxyStatus
from meshlab.istio.syncz import proxy_states
from tests.fakes.istioctl import FakeIstioctl, Said
from tests.fakes.kube import make_pod
from tests.fakes.mesh import FakeMesh

CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
LDS = "type.googleapis.com/envoy.config.listener.v3.Listener"
RDS = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
GATEWAY, SLEEP = "gateway-1.istio-system", "sleep-1.shop"


def istioctl() -> Istioctl:
    """One that is told of the gateway only."""
    node = {"id": GATEWAY, "metadata": {"NAMESPACE": "istio-system", "ISTIO_VERSION": "1.31.0"}}
    resource = {"node": node, "genericXdsConfigs": [{"typeUrl": CDS, "configStatus": "SYNCED"}]}
    answer = json.dumps({"resources": [resource]})
    return Istioctl(Path("istioctl"), runner=FakeIstioctl({"proxy-status": [Said(answer)]}))


def entry(name: str, **resources: dict[str, str]) -> dict[str, Any]:
    urls = {"CDS": CDS, "LDS": LDS, "RDS": RDS}
    return {
        "proxy": name,
        "istio_version": "1.31.0",
        "resources": {urls[kind]: each for kind, each in resources.items()},
    }


class Page:
    """istiod's page of the proxies, or none."""

    def __init__(self, *entries: dict[str, Any], broken: bool = False) -> None:
        self.entries, self.broken, self.asked = list(entries), broken, 0

    def json(self, namespace: str, pod: str, port: int, path: str, params: Any = None) -> Any:
        assert (namespace, pod, port, path) == ("istio-system", "istiod-1", 8080, "/debug/syncz")
        self.asked += 1
        if self.broken:
            raise QueryError("no such page", remedy="none")
        return self.entries


def kube() -> FakeMesh:
    return FakeMesh([make_pod("istiod-1", namespace="istio-system", labels={"app": "istiod"})])


def test_what_istioctl_is_told_of_needs_no_second_question() -> None:
    page = Page()
    [found] = proxy_states(kube(), istioctl(), [GATEWAY], page)  # type: ignore[arg-type]
    assert (found.name, page.asked) == (GATEWAY, 0)


def test_the_others_are_asked_of_istiod_by_what_was_sent_and_acknowledged() -> None:
    page = Page(
        entry(GATEWAY, CDS={"sent": "b", "acked": "a"}),  # istioctl's word stays
        entry(
            SLEEP,
            CDS={"sent": "a", "acked": "a"},
            LDS={"sent": "b", "acked": "a", "lastError": "bad filter"},
            RDS={},
        ),
        entry("late-1.shop", CDS={"sent": "b", "acked": "a"}),
        {"proxy": "test-1.default", "resources": {"istio.io/debug/syncz": {"sent": "a"}}},  # istioctl itself
    )
    gateway, late, sleep = proxy_states(kube(), istioctl(), [GATEWAY, SLEEP], page)  # type: ignore[arg-type]
    assert gateway.types == {"CDS": "SYNCED"}
    assert late.types == {"CDS": "STALE"}
    assert sleep == ProxyStatus(
        SLEEP, "shop", "1.31.0", {"CDS": "SYNCED", "LDS": "ERROR", "RDS": "NOT SENT"}, {"LDS": "bad filter"}
    )


def test_a_proxy_that_neither_knows_is_not_made_up() -> None:
    for page in (Page(), Page(broken=True)):
        found = proxy_states(kube(), istioctl(), [GATEWAY, SLEEP], page)  # type: ignore[arg-type]
        assert [each.name for each in found] == [GATEWAY] and page.asked == 1
