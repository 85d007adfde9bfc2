"""The secure ingress: three hosts of ours at the mesh's gateway, each for the product page.

Objects as in Istio's tasks "Secure Gateways" (SIMPLE and MUTUAL, credentialName) and "JWT Token" at an ingress
gateway. The Secrets and the two policies must stand in the gateway's namespace; all of it needs the write
scope `mesh`.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from meshlab.app.bookinfo import PAGE_PATH, PORT, PRODUCTPAGE
from meshlab.istio.operator_file import SYSTEM_NAMESPACE
from meshlab.security.gateways import answering
from meshlab.security.gateways.pki import EdgeKeys
from meshlab.security.gateways.tokens import Issuer

Document = dict[str, Any]
Alter = Callable[[list[Document]], list[Document]]  # what a planted fault makes of the objects

GATEWAY = "istio-ingressgateway"
SELECTOR = {"istio": "ingressgateway"}
NAME = "meshlab-edge"
JWKS = "meshlab-jwks"
SECURE, MUTUAL, TOKEN = "secure.meshlab.test", "mutual.meshlab.test", "token.meshlab.test"
HOSTS = (SECURE, MUTUAL, TOKEN)
LEAST_TLS = "TLSV1_2"
TLS_PORTS = ("443", "8443")  # of the gateway's pod: charts differ in what the Service's 443 leads to
NETWORKING, SECURITY = "networking.istio.io/v1", "security.istio.io/v1"


def unchanged(documents: list[Document]) -> list[Document]:
    """No fault."""
    return documents


def documents(namespace: str, keys: EdgeKeys, issuer: Issuer) -> list[Document]:
    """Everything at the gateway. namespace: of the app, where Gateway and VirtualService stand.

    Secrets get a name of their own in every run: what a killed run left is never overwritten, so no key is
    ever read back.
    """
    tag = secrets.token_hex(3)
    names = {host: f"{NAME}-{host.partition('.')[0]}-{tag}" for host in HOSTS}
    return [
        *(
            _secret(names[host], keys, host, clients=keys.clients_authority if host == MUTUAL else None)
            for host in HOSTS
        ),
        gateway(namespace, names),
        virtual_service(namespace),
        *token_policies(namespace, issuer),
    ]


def gateway(namespace: str, secret_names: Mapping[str, str]) -> Document:
    """Plain HTTP redirected, TLS 1.2 and up for each host; MUTUAL for the one that wants clients known."""
    servers: list[Document] = [
        {
            "port": {"number": 80, "name": "http-edge", "protocol": "HTTP"},
            "hosts": list(HOSTS),
            "tls": {"httpsRedirect": True},
        }
    ]
    servers += [
        {
            "port": {"number": 443, "name": f"https-{host.partition('.')[0]}", "protocol": "HTTPS"},
            "hosts": [host],
            "tls": {
                "mode": "MUTUAL" if host == MUTUAL else "SIMPLE",
                "credentialName": secret_names[host],
                "minProtocolVersion": LEAST_TLS,
            },
        }
        for host in HOSTS
    ]
    return _object(NETWORKING, "Gateway", NAME, namespace, {"selector": SELECTOR, "servers": servers})


def virtual_service(namespace: str) -> Document:
    """The hosts lead to the product page, and to nothing else."""
    there = {"destination": {"host": PRODUCTPAGE.app, "port": {"number": PORT}}}
    route = {"match": [{"uri": {"exact": PAGE_PATH}}], "route": [there]}
    return _object(
        NETWORKING,
        "VirtualService",
        NAME,
        namespace,
        {"hosts": list(HOSTS), "gateways": [NAME], "http": [route]},
    )


def token_policies(namespace: str, issuer: Issuer) -> list[Document]:
    """Tokens are checked where they come, and one host is denied without. namespace: where the keys are served.

    The host is denied with any port behind its name: the Host header may carry one. Only at the ports for
    TLS: plain HTTP is to be redirected, and a DENY by host would close the gateway's TCP ports.
    """
    rule = {
        "issuer": issuer.name,
        "audiences": [issuer.audience],
        "jwksUri": f"http://{JWKS}.{namespace}.svc.cluster.local{jwks_path(issuer)}",
        "forwardOriginalToken": False,
    }
    denied = {
        "from": [{"source": {"notRequestPrincipals": ["*"]}}],
        "to": [{"operation": {"hosts": [TOKEN, f"{TOKEN}:*"], "ports": list(TLS_PORTS)}}],
    }
    chosen = {"selector": {"matchLabels": SELECTOR}}
    return [
        _object(SECURITY, "RequestAuthentication", NAME, SYSTEM_NAMESPACE, {**chosen, "jwtRules": [rule]}),
        _object(
            SECURITY,
            "AuthorizationPolicy",
            NAME,
            SYSTEM_NAMESPACE,
            {**chosen, "action": "DENY", "rules": [denied]},
        ),
    ]


def jwks_path(issuer: Issuer) -> str:
    """Where the key set is served. Another path for each key: istiod keeps what an address has answered for
    twenty minutes, a run before this one included."""
    return f"/{issuer.key_id}/jwks.json"


def key_server(namespace: str, image: str, issuer: Issuer) -> list[Document]:
    """The pod that serves the issuer's public key. It must answer before the policy comes: istiod asks then."""
    return answering.documents(JWKS, namespace, image, {jwks_path(issuer): issuer.jwks}, [JWKS])


def _secret(name: str, keys: EdgeKeys, host: str, *, clients: bytes | None) -> Document:
    pair = keys.servers[host]
    data = {"tls.crt": pair.certificate, "tls.key": pair.key, **({"ca.crt": clients} if clients else {})}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE},
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _object(api_version: str, kind: str, name: str, namespace: str, spec: Mapping[str, Any]) -> Document:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": dict(spec)}
