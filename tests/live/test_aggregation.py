"""Kubernetes' aggregation layer on the local cluster: an APIService of ours is registered, and read through.

What metrics-server, `kubectl top` and the autoscalers need.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlab.clusters.local.certificates import Authority
from meshlab.clusters.local.layout import Layout
from meshlab.config.settings import LocalSettings, Machine
from meshlab.core.waiting import wait
from meshlab.kube.apply import apply, delete
from meshlab.kube.client import Kube
from meshlab.kube.rollout import wait_deployments
from tests.live import extension_server
from tests.live.conftest import NAME, NETWORK, Ran
from tests.live.extension_server import GROUP, PORT, VERSION

pytestmark = pytest.mark.live
NAMESPACE = "aggregation"
HOST = f"callers.{NAMESPACE}.svc"


@pytest.fixture(scope="module")
def kube(kept_lab: Ran) -> Kube:
    """The cluster of the kept lab."""
    assert kept_lab.directory is not None
    told = json.loads((kept_lab.directory / "evidence" / "cluster.json").read_text())
    return Kube.connect(Path(told["kubeconfig"]), told["context"])


@pytest.fixture(scope="module")
def registered(kube: Kube) -> Iterator[Kube]:
    """The cluster with the extension API server in it."""
    documents = list(objects(kube))
    refs = apply(kube, documents)
    try:
        wait_deployments(kube, NAMESPACE, ["callers"], timeout=60)
        wait(
            "the APIService to be available",
            lambda: kube.get("apiregistration.k8s.io/v1", "APIService", f"{VERSION}.{GROUP}") or {},
            ready=lambda found: conditions(found).get("Available") == "True",
            describe=lambda found: json.dumps(found.get("status", {}).get("conditions")),
            timeout=60,
            delay=0.2,
        )
        kube.forget_discovery()
        yield kube
    finally:
        delete(kube, refs)
        kube.forget_discovery()


def conditions(found: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in found.get("status", {}).get("conditions", [])}


def objects(kube: Kube) -> Iterator[dict[str, Any]]:
    """The extension API server, as its documentation says: it asks the cluster which authority to believe."""
    authority = Authority("extension servers of the tests")
    pair = authority.issue("callers", dns=[HOST])
    trusted = kube.get("v1", "ConfigMap", "extension-apiserver-authentication", "kube-system")
    productpage = kube.get("apps/v1", "Deployment", "productpage-v1", "default")
    assert trusted is not None and productpage is not None
    files = {
        "server.py": Path(extension_server.__file__).read_text(encoding="utf-8"),
        "tls.crt": pair.certificate.decode(),
        "tls.key": pair.key.decode(),
        "clients.crt": trusted["data"]["requestheader-client-ca-file"],
    }
    labels = {"app": "callers"}
    meta = {"name": "callers", "namespace": NAMESPACE}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": files}
    container = {
        "name": "server",
        "image": productpage["spec"]["template"]["spec"]["containers"][0]["image"],
        "command": ["python3", *(f"/etc/callers/{n}" for n in ("server.py", "tls.crt", "tls.key", "clients.crt"))],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "files", "mountPath": "/etc/callers"}],
    }  # fmt: skip
    pod = {"containers": [container], "volumes": [{"name": "files", "configMap": {"name": "callers"}}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    port = {"port": 443, "targetPort": PORT}
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"selector": labels, "ports": [port]},
    }
    yield {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{VERSION}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "service": {"name": "callers", "namespace": NAMESPACE, "port": 443},
            "caBundle": base64.b64encode(authority.certificate).decode(),
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    }


def test_an_extension_server_learns_who_asks_from_a_proxy_it_can_believe(registered: Kube) -> None:
    me = registered.get(f"{GROUP}/{VERSION}", "Caller", "me")
    assert me is not None
    assert me["user"] == "meshlab-admin" and "system:masters" in me["groups"]
    assert me["proxy"]["commonName"] == "front-proxy-client"


def test_a_client_certificate_of_the_cluster_does_not_pass_for_the_proxy(
    registered: Kube, machine: Machine
) -> None:
    layout = Layout.of(LocalSettings(name=NAME, network=NETWORK), machine)
    (pod,) = registered.pods(NAMESPACE, "app=callers")
    answers = {}
    for name in ("front-proxy-client", "admin"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(layout.pki / f"{name}.crt", layout.pki / f"{name}.key")
        answers[name] = [asked(context, str(pod.ip)) for _ in range(3)]
    assert answers == {"front-proxy-client": [200] * 3, "admin": [0] * 3}


def asked(context: ssl.SSLContext, address: str) -> int:
    """The status that the extension server gives to a caller, 0 where it does not take the certificate."""
    connection = http.client.HTTPSConnection(address, PORT, timeout=5, context=context)
    try:
        connection.request("GET", extension_server.ROOT, headers={"X-Remote-User": "somebody"})
        return connection.getresponse().status
    except ssl.SSLError:
        return 0
    finally:
        connection.close()


def test_a_namespace_goes_while_an_extension_server_is_registered(registered: Kube) -> None:
    refs = apply(registered, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "short-lived"}}])
    delete(registered, refs)
    assert registered.get("v1", "Namespace", "short-lived") is None
