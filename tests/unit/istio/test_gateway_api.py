"""What the cluster has of Gateway API, and what the Istio in use asks of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.core.errors import KubeError
from meshlab.istio import gateway_api
from meshlab.istio.gateway_api import Definition, definitions, outer, too_old, validates_frontend
from tests.fakes.gateway_definitions import bundle, cluster, definition
from tests.fakes.kube import FakeKube

STANDARD_OF_1_4 = ("gatewayclasses", "gateways", "grpcroutes", "httproutes")  # TLSRoute was experimental then


def names(problems: list[str]) -> list[str]:
    return [each.partition(".")[0] for each in problems]


def test_a_cluster_without_gateway_api_has_no_definitions_and_is_not_asked_for_them() -> None:
    kube = FakeKube()  # it refuses to be asked for a definition
    assert definitions(kube) == ()  # type: ignore[arg-type]


def test_definitions_tell_their_version_and_whether_clients_can_be_chosen() -> None:
    found = {each.name: each for each in definitions(cluster(bundle("v1.6.0")))}  # type: ignore[arg-type]
    assert found["gateways"] == Definition("gateways", "v1.6.0", frozenset({"spec.tls.frontend"}))
    assert found["tlsroutes"].number == (1, 6, 0)
    [old] = definitions(cluster([definition("gateways", None)]))  # type: ignore[arg-type]
    assert (old.bundle, old.number, old.fields) == ("", None, frozenset())


@pytest.mark.parametrize(
    ("made", "istio", "wrong"),
    [
        (bundle("v1.6.0"), "1.31.0-dev", []),
        (bundle("v1.6.0-rc.1"), "1.31.0-dev", []),  # as istiod rounds it
        (bundle("v1.4.1", *STANDARD_OF_1_4, frontend=False), "1.31.0-dev", ["gateways"]),
        (bundle("v1.4.1", frontend=False), "1.31.0-dev", ["tlsroutes", "tcproutes", "gateways"]),
        (bundle("v1.5.1"), "1.31.1", ["tcproutes"]),
        (bundle("v1.5.1"), "1.30.5", []),
        (bundle("v1.4.1", frontend=False), "1.29.8", []),
        (bundle("v1.0.0", frontend=False), "1.26.8", ["grpcroutes"]),
        ([definition("gateways", "v1.6.0", frontend=True), definition("tlsroutes", None)], "1.31.0", ["tlsroutes"]),
    ],
    ids=["same", "candidate", "1.4 standard", "1.4 all", "1.5", "1.5 on 1.30", "1.4 on 1.29", "1.0", "untold"],
)  # fmt: skip
def test_definitions_that_are_too_old_are_named(made: list[dict], istio: str, wrong: list[str]) -> None:
    found = definitions(cluster(made))  # type: ignore[arg-type]
    problems = too_old(found, istio)
    assert names(problems) == wrong
    assert all(istio in each for each in problems)


def test_clients_are_chosen_by_the_field_only_where_istio_serves_it_and_the_cluster_keeps_it() -> None:
    new, old = (definitions(cluster(bundle("v1", frontend=each))) for each in (True, False))  # type: ignore[arg-type]
    assert validates_frontend(new, "1.31.0-dev")
    assert not validates_frontend(old, "1.31.0-dev")
    assert not validates_frontend(new, "1.29.8")
    assert not validates_frontend(new, "")


def gateway(class_name: str) -> dict[str, Any]:
    return {"metadata": {"name": class_name, "namespace": "shop"}, "spec": {"gatewayClassName": class_name}}


def test_gateways_for_callers_from_outside_are_those_of_istio_s_classes() -> None:
    gateways = [gateway(name) for name in ("istio", "istio-waypoint", "nginx", "corp")]
    classes = [
        {"metadata": {"name": name}, "spec": {"controllerName": controller}}
        for name, controller in (
            ("istio", "istio.io/gateway-controller"),
            ("istio-waypoint", "istio.io/mesh-controller"),
            ("nginx", "nginx.org/gateway"),
            ("corp", "istio.io/gateway-controller"),
        )
    ]
    assert [each["metadata"]["name"] for each in outer(gateways, classes)] == ["istio", "corp"]
    assert [each["metadata"]["name"] for each in outer(gateways, [])] == ["istio"]


def test_the_standard_channel_is_read_from_the_module_without_its_policy(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "crd" / "standard"
    folder.mkdir(parents=True)
    policy = {"kind": "ValidatingAdmissionPolicy", "metadata": {"name": "safe-upgrades"}}
    for name in ("gateways", "httproutes"):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(definition(name, "v1.6.0")))
    (folder / "policy.yaml").write_text(yaml.safe_dump_all([policy, policy]))
    found = gateway_api.standard_definitions(tmp_path)
    assert [each["spec"]["names"]["kind"] for each in found] == ["Gateway", "HTTPRoute"]
    with pytest.raises(KubeError, match="holds no definitions"):
        gateway_api.standard_definitions(tmp_path / "config")
