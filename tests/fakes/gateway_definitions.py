"""CustomResourceDefinitions of Gateway API as a cluster has them, with the parts that are read."""

from __future__ import annotations

from typing import Any

from meshlab.istio.gateway_api import BUNDLE, CRD, CRD_API, GROUP
from tests.fakes.kube import FakeKube

KINDS = {
    "gatewayclasses": "GatewayClass",
    "gateways": "Gateway",
    "grpcroutes": "GRPCRoute",
    "httproutes": "HTTPRoute",
    "tcproutes": "TCPRoute",
    "tlsroutes": "TLSRoute",
}


def definition(name: str, bundle: str | None, *, frontend: bool = False) -> dict[str, Any]:
    """One definition. bundle: None for none told. frontend: its objects can have spec.tls.frontend."""
    tls: dict[str, Any] = {"properties": {"frontend": {"type": "object"}}} if frontend else {}
    spec = {"properties": {"tls": tls} if frontend else {}}
    version = {"name": "v1", "served": True, "schema": {"openAPIV3Schema": {"properties": {"spec": spec}}}}
    return {
        "apiVersion": CRD_API,
        "kind": CRD,
        "metadata": {"name": f"{name}.{GROUP}", "annotations": {BUNDLE: bundle} if bundle else {}},
        "spec": {
            "group": GROUP,
            "names": {"kind": KINDS[name]},
            "scope": "Cluster" if name == "gatewayclasses" else "Namespaced",
            "versions": [version],
        },
    }


def bundle(version: str, *names: str, frontend: bool = True) -> list[dict[str, Any]]:
    """The definitions of one version of Gateway API; all of them where none is named."""
    return [
        definition(name, version, frontend=frontend and name == "gateways") for name in names or tuple(KINDS)
    ]


def cluster(definitions: list[dict[str, Any]]) -> FakeKube:
    """A cluster that serves them."""
    kube = FakeKube()
    kube.kinds[CRD_API, CRD] = False
    for each in definitions:
        kube.server_side_apply(each)
    kube.calls.clear()
    return kube
