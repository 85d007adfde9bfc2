"""What the drill changes, and that all of it is in the ledger without a key, and put back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlab.config.settings import Machine
from meshlab.core.errors import NotHereError
from meshlab.istio.mesh import EGRESS, Gateway, Mesh
from meshlab.kube.changes import Changes
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from meshlab.security.rotation.authorities import intermediate, new_root
from meshlab.security.rotation.drill import MARK, PROXY_CONFIG, SHORT, Drill, Step, strangers
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube, make_pod

MESH = Mesh("shop", gateways=(Gateway("out", "edge", EGRESS),))
FROZEN = {**SHORT, "SECRET_GRACE_PERIOD_RATIO": "0.01"}  # renewed two seconds before its end


def deployment(name: str, home: str, containers: list[dict[str, Any]]) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": home, "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template},
        "status": {
            "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        },
    }  # fmt: skip


class Recording(Drill):
    """A drill whose proxies have every certificate at once."""

    def _await(self, name: str, has: Any, timeout: float) -> Step:
        return Step(name, 2, 1.0)


@pytest.fixture
def kube() -> FakeKube:
    bare = make_pod("caller-1", namespace="shop", labels={"app": "caller"})
    bare["spec"]["initContainers"], bare["status"]["initContainerStatuses"] = [], []
    proxy = {
        "name": "istio-proxy",
        "env": [{"name": "SECRET_TTL", "value": "24h"}, {"name": "OTHER", "value": "1"}],
    }
    found = FakeKube(
        [
            deployment("web", "shop", [{"name": "web"}]),
            deployment("caller", "shop", [{"name": "curl"}]),
            deployment("out", "edge", [proxy]),
            deployment("istiod", "istio-system", [{"name": "discovery"}]),
            make_pod("web-1", namespace="shop", labels={"app": "web"}),
            make_pod("out-1", namespace="edge", labels={"app": "out"}),
            bare,
        ]
    )
    found.kinds["v1", "Secret"] = True
    return found


@pytest.fixture
def made(kube: FakeKube, tmp_path: Path) -> Iterator[tuple[Recording, Ledger]]:
    run = create(tmp_path, "test")
    ledger = Ledger.open(Machine.here({"HOME": str(tmp_path)}), run)
    first, second = (Changes(kube, ledger, run, clock=FakeClock()) for _ in range(2))  # type: ignore[arg-type]
    yield Recording(kube, MESH, first, second, clock=FakeClock()), ledger  # type: ignore[arg-type]


def template_of(kube: FakeKube, name: str, home: str) -> dict[str, Any]:
    found = kube.get("apps/v1", "Deployment", name, home)
    assert found is not None
    return dict(found["spec"]["template"])


def test_proxies_get_certificates_of_minutes_and_their_own_back(
    kube: FakeKube, made: tuple[Recording, Ledger]
) -> None:
    drill, ledger = made
    before = {key: dict(value) for key, value in kube.store.items()}
    drill.shorten(lambda name: FROZEN if name == "web" else SHORT)
    noted = template_of(kube, "web", "shop")["metadata"]["annotations"][PROXY_CONFIG]
    assert json.loads(noted) == {"proxyMetadata": dict(FROZEN)}
    [container] = template_of(kube, "out", "edge")["spec"]["containers"]
    assert {each["name"]: each["value"] for each in container["env"]} == {"OTHER": "1", **SHORT}
    assert "annotations" not in template_of(kube, "caller", "shop")["metadata"], "it has no proxy"
    drill.finish()
    assert kube.store.keys() == before.keys() and ledger.entries() == ()
    assert (
        template_of(kube, "out", "edge") == before["apps/v1", "Deployment", "edge", "out"]["spec"]["template"]
    )
    assert not template_of(kube, "web", "shop")["metadata"].get("annotations")


def test_the_proxies_are_ours_and_the_gateways(kube: FakeKube, made: tuple[Recording, Ledger]) -> None:
    drill, _ = made
    assert [pod.name for pod in drill.proxies()] == ["web-1", "out-1"]
    assert strangers(kube, MESH) == ()  # type: ignore[arg-type]
    kube.put(make_pod("theirs-1", namespace="theirs"))
    assert strangers(kube, MESH) == ("theirs/theirs-1",)  # type: ignore[arg-type]


def test_a_workload_with_a_configuration_of_its_own_is_left_alone(
    kube: FakeKube, made: tuple[Recording, Ledger]
) -> None:
    drill, ledger = made
    web = deployment("web", "shop", [{"name": "web"}])
    web["spec"]["template"]["metadata"]["annotations"] = {PROXY_CONFIG: "{}"}
    kube.put(web)
    with pytest.raises(NotHereError, match="annotation"):
        drill.shorten()
    drill.finish()
    assert ledger.entries() == ()


def test_a_key_is_never_in_the_ledger_and_the_authority_goes_before_istiod_starts_anew(
    kube: FakeKube, made: tuple[Recording, Ledger]
) -> None:
    drill, ledger = made
    one, other = new_root(), new_root()
    for number in range(2):
        assert drill.plug(f"step {number}", intermediate(one, "i"), [one, other]).seconds == 1.0
    assert kube.get("v1", "Secret", "cacerts", "istio-system") is not None
    assert len(ledger.entries()) == 2 and not any("PRIVATE" in each.content for each in ledger.entries())
    gone: list[bool] = []
    kube.refuse = lambda verb, kind, name: (
        gone.append(kube.get("v1", "Secret", "cacerts", "istio-system") is None)
        if kind == "Deployment"
        else None
    )
    drill.put_authority_back(one)
    assert gone and all(gone), "istiod starts anew once the authority is gone"
    assert ledger.entries() == ()
    assert MARK not in (template_of(kube, "istiod", "istio-system")["metadata"].get("annotations") or {})
