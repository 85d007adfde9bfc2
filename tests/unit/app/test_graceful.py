"""Servers get a readiness probe and a preStop hook; everything else stays as it is."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.app.bookinfo import WORKLOADS
from meshlab.app.graceful import graceful


def deployment(name: str, **container: object) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i", **container}]}
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": {"template": {"spec": spec}}}


def container_of(found: dict[str, Any]) -> dict[str, Any]:
    [made] = found["spec"]["template"]["spec"]["containers"]
    return dict(made)


@pytest.mark.parametrize("workload", [each for each in WORKLOADS if each.port], ids=lambda each: each.name)
def test_each_server_is_ready_when_it_answers_and_stays_for_a_while(workload: Any) -> None:
    given = deployment(workload.name)
    made = container_of(graceful([given], "v1.36.1")[0])
    assert made["readinessProbe"]["httpGet"] == {"path": "/health", "port": workload.port}
    assert made["readinessProbe"]["periodSeconds"] == 1
    assert made["lifecycle"]["preStop"] == {"sleep": {"seconds": 5}}
    assert "lifecycle" not in container_of(given), "what was given is not changed"


@pytest.mark.parametrize(
    ("version", "action"), [("v1.29.9-gke.1", "exec"), ("v1.30.0", "sleep"), ("", "exec")]
)
def test_an_older_kubelet_asks_the_image_to_sleep(version: str, action: str) -> None:
    [made] = graceful([deployment("details-v1")], version)
    assert list(container_of(made)["lifecycle"]["preStop"]) == [action]


def test_what_serves_nothing_and_what_has_its_own_stay_as_they_are() -> None:
    own = {
        "readinessProbe": {"tcpSocket": {"port": 1}},
        "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
    }
    given = [
        deployment("sleep"),
        deployment("ratings-v1", **own),
        {"kind": "Service", "metadata": {"name": "details-v1"}},
    ]
    assert graceful(given, "v1.36.1") == given
