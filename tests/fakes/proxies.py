"""istiod's and the proxies' pages of a cluster in memory: they follow what is stored there, some looks later."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tests.fakes.kube import FakeKube

ISTIO = ("networking.istio.io/", "security.istio.io/", "telemetry.istio.io/", "gateway.networking.k8s.io/")


class FakePages:
    """Stands in for meshlab.envoy.admin.Pages.

    lag: how many looks at a page it takes until it shows a change. frozen: pods whose page never changes.
    warming: pod → listeners that warm, one look less each time. asked: every (pod, path).
    """

    def __init__(self, kube: FakeKube, *, lag: int = 0) -> None:
        self.kube, self.lag = kube, lag
        self.frozen: set[str] = set()
        self.warming: dict[str, int] = {}
        self.asked: list[tuple[str, str]] = []
        self._seen: dict[str, tuple[list[dict[str, Any]], int]] = {}

    def json(
        self, namespace: str, pod: str, port: int, path: str, params: Mapping[str, str | int] | None = None
    ) -> Any:
        self.asked.append((pod, path))
        if (port, path) == (8080, "/debug/configz"):
            return self._stale(pod)
        assert (port, path) == (15000, "/config_dump") and params is not None, f"no page {port}{path}"
        if params["resource"] == "dynamic_listeners":
            left = self.warming.get(pod, 0)
            self.warming[pod] = max(left - 1, 0)
            state = {"warming_state": {"version_info": "v"}} if left else {}
            return {"configs": [{"name": "virtualInbound", **state}]}
        assert params["resource"] == "dynamic_active_clusters"
        names = [
            each["metadata"]["name"]
            for each in self._stale(pod)
            if each["kind"] == "EnvoyFilter" and each["metadata"]["namespace"] == namespace
        ]
        return {"configs": [{"cluster": {"name": name}} for name in names if name == params["name_regex"]]}

    def _stale(self, pod: str) -> list[dict[str, Any]]:
        now = [copy.deepcopy(each) for key, each in self.kube.store.items() if key[0].startswith(ISTIO)]
        shown, looks = self._seen.get(pod, ([], 0))
        if now != shown and pod not in self.frozen:
            looks += 1
            if looks > self.lag:
                shown, looks = now, 0
        self._seen[pod] = (shown, looks)
        return shown
