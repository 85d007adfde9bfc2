"""The deliberately bad namespace of the audit's tests: its objects, and what each rule must find in it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMESPACE, PLAIN = "audit-bad", "audit-bad-plain"
# Rule → the objects that it must find in these namespaces, and no others. (istio-version and analyze look at no object.)
EXPECTED: dict[str, set[str]] = {
    "strict-mtls": {"PeerAuthentication audit-bad/plaintext-welcome"},
    "default-deny": {"Namespace audit-bad"},
    "allow-all": {"AuthorizationPolicy audit-bad/allow-everything"},
    "deny-by-path": {"AuthorizationPolicy audit-bad/deny-path"},
    "gateway-hosts": {"Gateway audit-bad/wide"},
    "gateway-tls": {"Gateway audit-bad/old-tls"},
    "destination-rule-tls": {"DestinationRule audit-bad/no-tls", "DestinationRule audit-bad/any-certificate"},
    "egress-policy": {"Sidecar audit-bad/open-egress"},
    "sidecars": {"Pod audit-bad/bare"},
    "limits": {"Pod audit-bad/no-limits"},
    "privileged": {"Pod audit-bad/powerful"},
    "run-as-root": {"Pod audit-bad/rooted"},
    "shared-accounts": {"ServiceAccount audit-bad/shared"},
    "token-mounts": {"Pod audit-bad/token"},
    "first-party-tokens": {"Pod audit-bad/old-proxy"},
    "debug-ports": {"Pod audit-bad/debugged"},
    "certificates": {"Secret audit-bad/expired-certificate"},
    "injection": {"Namespace audit-bad-plain"},
}


def documents(curl: str = "curl:1", web: str = "web:1") -> list[dict[str, Any]]:
    """All objects, in an order in which they can be applied. curl, web: images."""
    text = Path(__file__).with_name("bad-namespace.yaml").read_text(encoding="utf-8")
    read = [each for each in yaml.safe_load_all(text) if each]
    pods = next(each for each in read if "pods" in each)
    others = [each for each in read if "pods" not in each]
    namespaces = [each for each in others if each["kind"] == "Namespace"]
    rest = [each for each in others if each["kind"] != "Namespace"]
    made = [_pod(pods, row) for row in pods["pods"]]
    for pod in made:
        container = pod["spec"]["containers"][0]
        container["image"] = {"CURL": curl, "WEB": web}[container["image"]]
    accounts = {(p["metadata"]["namespace"], p["spec"]["serviceAccountName"]) for p in made}
    return [
        *namespaces,
        *(
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": namespace},
            }
            for namespace, name in sorted(accounts)
        ),
        expired_secret(),
        *rest,
        *made,
    ]


def _pod(common: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """A clean pod with the row's fault. None in a row takes a field away."""
    name, namespace = row["name"], row.get("namespace", NAMESPACE)
    container = {**common["x-container"], **row.get("container", {})}
    spec = {
        **common["x-clean"],
        "serviceAccountName": row.get("account", name),
        **row.get("spec", {}),
        "containers": [{key: value for key, value in container.items() if value is not None}],
    }
    labels = {"app": name, **row.get("labels", {})}
    meta = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def as_admitted(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The objects as a cluster returns them: pods with their sidecars, tokens and addresses."""
    injecting = {
        each["metadata"]["name"]
        for each in documents
        if each["kind"] == "Namespace" and "istio-injection" in each["metadata"].get("labels", {})
    }
    for number, pod in enumerate(each for each in documents if each["kind"] == "Pod"):
        spec, meta = pod["spec"], pod["metadata"]
        pod["status"] = {"phase": "Running", "podIP": f"10.0.0.{number + 1}"}
        if spec.get("automountServiceAccountToken", True):
            path = "/var/run/secrets/kubernetes.io/serviceaccount"
            spec["containers"][0]["volumeMounts"] = [{"name": "kube-api-access", "mountPath": path}]
        if meta["namespace"] in injecting and meta["labels"].get("sidecar.istio.io/inject") != "false":
            spec["initContainers"] = [
                {
                    "name": "istio-init",
                    "securityContext": {"runAsUser": 0, "capabilities": {"add": ["NET_ADMIN"]}},
                },
                {"name": "istio-proxy", "restartPolicy": "Always"},
            ]
            token = {"serviceAccountToken": {"audience": "istio-ca", "path": "istio-token"}}
            spec["volumes"] = [{"name": "istio-token", "projected": {"sources": [token]}}]
    return documents


def expired_secret(now: datetime | None = None) -> dict[str, Any]:
    """A gateway's Secret whose certificate ended yesterday. Key and certificate are made here and now."""
    now = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "expired.example.com")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=3))
        .not_valid_after(now - timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    data = {"tls.crt": base64.b64encode(pem).decode(), "tls.key": base64.b64encode(private).decode()}
    meta = {"name": "expired-certificate", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": meta, "data": data}
