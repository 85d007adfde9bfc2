"""Requests are added up as the scheduler and a quota do, and what is missing is said in numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from meshlab.shared_cluster.capacity import (
    ContainerNeed,
    PodNeed,
    limit_problems,
    need_of,
    node_shortfalls,
    quota_shortfalls,
    rooms,
    used_by,
    with_defaults,
)

SIDECAR = need_of("istio-proxy", {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2"}})


def meshed(name: str = "web") -> PodNeed:
    return PodNeed(name, (ContainerNeed("app"), SIDECAR), (SIDECAR,))


def node(name: str, cpu: str, memory: str = "4Gi", pods: str = "110", **spec: Any) -> dict[str, Any]:
    allocatable = {"cpu": cpu, "memory": memory, "pods": pods}
    return {
        "metadata": {"name": name, "labels": spec.pop("labels", {})},
        "spec": spec,
        "status": {"allocatable": allocatable},
    }


def pod(
    on: str, cpu: str, *, phase: str = "Running", init: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    containers = [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]
    return {
        "metadata": {"name": "theirs", "namespace": "shop"},
        "spec": {"nodeName": on, "containers": containers, "initContainers": init or []},
        "status": {"phase": phase},
    }


def test_a_pod_asks_for_its_containers_together_or_for_its_largest_init_container() -> None:
    big = need_of("init", {"requests": {"cpu": "1"}})
    assert meshed().total("requests", "cpu") == Decimal("0.1")
    assert PodNeed("web", (SIDECAR, SIDECAR), (big,)).total("requests", "cpu") == 1
    assert PodNeed("web", (SIDECAR, SIDECAR), ()).total("requests", "memory") == 256 * 2**20
    assert need_of("c", {"limits": {"cpu": "500m"}}).requests == {
        "cpu": Decimal("0.5")
    }  # as Kubernetes fills it in


def test_nodes_have_what_their_pods_do_not_request_and_native_sidecars_count() -> None:
    lasting = [
        {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "250m"}}},
        {"name": "once", "resources": {"requests": {"cpu": "700m"}}},
    ]
    pods = [pod("a", "500m", init=lasting), pod("a", "1", phase="Succeeded"), pod("b", "1500m")]
    found = rooms([node("a", "2"), node("b", "2")], pods)
    assert [(each.name, each.free["cpu"], each.free["pods"]) for each in found] == [
        ("a", Decimal("1.25"), 109),
        ("b", Decimal("0.5"), 109),
    ]
    assert found[0].free["memory"] == 3 * 2**30


@pytest.mark.parametrize(
    ("spec", "tolerations", "there"),
    [
        ({"unschedulable": True}, [], False),
        ({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}, [], False),
        ({"taints": [{"key": "gpu", "value": "yes", "effect": "PreferNoSchedule"}]}, [], True),
        (
            {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]},
            [{"key": "gpu", "value": "yes"}],
            True,
        ),
        (
            {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]},
            [{"key": "gpu", "value": "no"}],
            False,
        ),
        ({"taints": [{"key": "gpu", "effect": "NoExecute"}]}, [{"key": "gpu", "operator": "Exists"}], True),
        (
            {"taints": [{"key": "gpu", "effect": "NoExecute"}]},
            [{"operator": "Exists", "effect": "NoSchedule"}],
            False,
        ),
    ],
)
def test_only_nodes_that_may_run_our_pods_count(
    spec: dict[str, Any], tolerations: list[dict[str, str]], there: bool
) -> None:
    assert bool(rooms([node("a", "2", **spec)], [], tolerations=tolerations)) is there


def test_a_node_selector_leaves_the_others_out() -> None:
    nodes = [node("a", "2", labels={"pool": "lab"}), node("b", "2")]
    assert [each.name for each in rooms(nodes, [], selector={"pool": "lab"})] == ["a"]
    [shortfall] = node_shortfalls([meshed()], rooms(nodes, [], selector={"pool": "none"}))
    assert "no node may run" in shortfall.what


def test_the_shortfall_is_said_in_numbers() -> None:
    nodes = rooms([node("a", "0.5"), node("b", "0.5")], [])
    assert node_shortfalls([meshed()] * 10, nodes) == []
    [short] = node_shortfalls([meshed()] * 12, nodes)
    assert short.what == "1.200 CPU asked for, 1.000 CPU free on 2 nodes, 0.200 CPU short"
    [few] = node_shortfalls([meshed()] * 3, rooms([node("a", "8", pods="2")], []))
    assert few.what == "3 pods asked for, 2 pods free on 1 nodes, 1 pods short"


def test_what_fits_in_sum_and_on_no_node_is_short_too() -> None:
    large = PodNeed("large", (need_of("c", {"requests": {"cpu": "600m"}}),))
    [short] = node_shortfalls([large], rooms([node("a", "0.5"), node("b", "0.5")], []))
    assert "no node has 0.600 CPU" in short.what and "large" in short.what


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "team"}, "spec": {"hard": hard, **spec}, "status": {"used": used or {}}}


def limits(**rule: Any) -> dict[str, Any]:
    return {"metadata": {"name": "team"}, "spec": {"limits": [{"type": "Container", **rule}]}}


def test_a_quota_counts_pods_requests_and_limits() -> None:
    wanted = [with_defaults(meshed(), [limits(default={"cpu": "1", "memory": "1Gi"})])] * 3
    assert quota_shortfalls(wanted, [quota({"pods": "3", "requests.cpu": "4", "limits.cpu": "9"})]) == []
    found = quota_shortfalls(
        wanted, [quota({"pods": "3", "limits.cpu": "9"}, {"pods": "1", "limits.cpu": "4"})]
    )
    assert [each.what for each in found] == [
        "pods: 3 pods asked for, 2 pods left, 1 pods short",
        "limits.cpu: 9.000 CPU asked for, 5.000 CPU left, 4.000 CPU short",
    ]
    assert {each.where for each in found} == {"ResourceQuota team"}
    assert quota_shortfalls(wanted, [quota({"pods": "0"}, scopes=["Terminating"])]) == []


def test_what_a_quota_demands_of_every_container_is_named_where_nothing_fills_it_in() -> None:
    [short] = quota_shortfalls([meshed()], [quota({"requests.memory": "4Gi"})])
    assert short.what == "demands requests.memory of every container, app of web names none"
    filled = with_defaults(meshed(), [limits(defaultRequest={"memory": "32Mi"})])
    assert quota_shortfalls([filled], [quota({"requests.memory": "4Gi"})]) == []


def test_pods_of_a_run_that_goes_on_are_not_counted_twice() -> None:
    own = used_by([pod("a", "100m")])
    wanted = [PodNeed("web", (need_of("c", {"requests": {"cpu": "100m"}}),))] * 2
    full = quota({"pods": "2", "requests.cpu": "200m"}, {"pods": "1", "requests.cpu": "100m"})
    assert quota_shortfalls(wanted, [full], already=own) == []
    assert len(quota_shortfalls(wanted, [full])) == 2


def test_a_limit_range_that_refuses_the_sidecar_is_named() -> None:
    [most] = limit_problems([meshed(), meshed("api")], [limits(max={"cpu": "1"})])
    assert most.what == "allows a container 1.000 CPU, istio-proxy of web has 2.000 CPU"
    [least] = limit_problems([meshed()], [limits(min={"cpu": "200m"})])
    assert "demands 0.200 CPU, istio-proxy of web asks for 0.100 CPU" in least.what
    assert limit_problems([meshed()], [limits(max={"cpu": "2"}, min={"cpu": "50m"})]) == []
