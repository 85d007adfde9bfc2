"""The IstioOperator of a further revision: the old mesh's configuration, and no gateway but those it takes over."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError
from meshlab.istio.distribution import Distribution
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.istio.revision_install import gateway_refs, install_revision, of_revision
from meshlab.istio.upgrade import UpgradePlan
from tests.fakes.rollout import two_namespaces, workload

PLAN = UpgradePlan("istio-system", "default", "1.30.0", "1-31-0", "1.31.0", (), (), ())
OLD = {
    "trustDomain": "corp.example",
    "accessLogFile": "/dev/stdout",
    "defaultConfig": {
        "discoveryAddress": "istiod.istio-system.svc:15012",
        "holdApplicationUntilProxyStarts": True,
    },
}


def made(spec: dict[str, Any], gateways: list[str]) -> dict[str, Any]:
    document = {"kind": "IstioOperator", "spec": spec}
    found = of_revision(document, PLAN, Mesh("default", config=OLD), gateways)
    assert "revision" not in spec, "the given document stays as it is"
    return found["spec"]


def test_the_old_configuration_stays_where_the_new_document_says_nothing() -> None:
    spec = made({"meshConfig": {"accessLogFile": "", "defaultConfig": {"drainDuration": "5s"}}}, [])
    assert spec["revision"] == "1-31-0"
    assert spec["meshConfig"] == {
        "trustDomain": "corp.example",
        "accessLogFile": "",
        "defaultConfig": {"holdApplicationUntilProxyStarts": True, "drainDuration": "5s"},
    }


def test_gateways_are_off_but_for_those_that_are_taken_over() -> None:
    own = {"ingressGateways": [{"name": "inner", "enabled": True, "k8s": {"replicas": 2}}]}
    assert made({"components": own}, ["istio-ingressgateway"])["components"] == {
        "ingressGateways": [
            {"name": "istio-ingressgateway", "enabled": True},
            {"name": "inner", "enabled": False, "k8s": {"replicas": 2}},
        ],
        "egressGateways": [{"name": "istio-egressgateway", "enabled": False}],
    }
    off = made({}, [])["components"]
    assert [each["enabled"] for kind in off.values() for each in kind] == [False, False]


def test_the_objects_of_gateways_are_found_by_their_component() -> None:
    mesh = two_namespaces()
    for name, component in (("istio-ingressgateway", "IngressGateways"), ("istiod-x", "Pilot")):
        each = workload(name, "istio-system")
        each["metadata"]["labels"] = {"operator.istio.io/component": component}
        mesh.put(each)
    assert [ref.name for ref in gateway_refs(mesh, PLAN)] == ["istio-ingressgateway"]  # type: ignore[arg-type]


def test_a_control_plane_elsewhere_is_refused(tmp_path) -> None:
    elsewhere = UpgradePlan("mesh", "default", "1.30.0", "1-31-0", "1.31.0", (), (), ())
    distribution = Distribution("release", tmp_path / "istioctl", "1.31.0", tmp_path)
    with pytest.raises(IstioError, match="mesh"):
        install_revision(
            LabConfig(cluster="existing"), distribution, two_namespaces(), Istioctl(tmp_path), elsewhere,
            Mesh("default"), gateways=False,
        )  # fmt: skip
