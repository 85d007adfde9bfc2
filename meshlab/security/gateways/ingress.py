"""The secure ingress: three hosts of ours at the mesh's gateway, each for the product page.

Objects as in Istio's tasks "Secure Gateways" (SIMPLE and MUTUAL, credentialName) and "JWT Token" at an
ingress gateway. The Secrets and the two policies must stand in the gateway's namespace; all of it needs the
write scope `mesh`.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import Any

from meshlab import manifests
from meshlab.app.traffic_clients import INGRESS
from meshlab.istio.mesh import Mesh
from meshlab.security.gateways import answering
from meshlab.security.gateways.pki import GatewayKeys
from meshlab.security.gateways.tokens import Issuer

Document = dict[str, Any]
Alter = Callable[[list[Document]], list[Document]]  # what a planted fault makes of the objects

GATEWAY = INGRESS  # name of its Service
NAME = "meshlab-edge"
JWKS = "meshlab-jwks"
SECURE, MUTUAL, TOKEN = "secure.meshlab.test", "mutual.meshlab.test", "token.meshlab.test"
HOSTS = (SECURE, MUTUAL, TOKEN)


def unchanged(documents: list[Document]) -> list[Document]:
    """No fault."""
    return documents


def documents(mesh: Mesh, keys: GatewayKeys, issuer: Issuer) -> list[Document]:
    """Make everything that stands at the gateway.

    Secrets get a name of their own in every run: what a killed run left is never overwritten, so no key is
    ever read back.

    Args:
        mesh: Its facts: Gateway and VirtualService stand in the app's namespace, the others in the gateway's.
        keys: What the gateway shows and accepts.
        issuer: Of the tokens that it accepts.

    Returns:
        Secrets, Gateway, VirtualService and the two policies for tokens.
    """
    tag = secrets.token_hex(3)
    words = {
        "NAMESPACE": mesh.namespace,
        "SYSTEM": mesh.ingress_namespace,
        "TAG": tag,
        **token_words(mesh, issuer),
    }
    return [*key_secrets(keys, tag, mesh.ingress_namespace), *manifests.read("ingress", **words)]


def token_words(mesh: Mesh, issuer: Issuer) -> dict[str, str]:
    """Fill in what a policy for tokens asks for.

    Args:
        mesh: Its facts, for the app's namespace.
        issuer: Of the tokens.

    Returns:
        Placeholder → text.
    """
    return {
        "ISSUER": issuer.name,
        "AUDIENCE": issuer.audience,
        "JWKS_URI": f"http://{mesh.service_host(JWKS)}{jwks_path(issuer)}",
    }


def key_secrets(keys: GatewayKeys, tag: str, namespace: str) -> list[Document]:
    """Make the Secret of each host.

    Args:
        keys: What the gateway shows and accepts.
        tag: Ends their names: another one in every run.
        namespace: Of the gateway.

    Returns:
        The Secrets.
    """
    return [_secret(host, tag, keys, namespace) for host in HOSTS]


def jwks_path(issuer: Issuer) -> str:
    """Give the path at which the key set is served, another one for each key.

    istiod keeps what an address has answered for twenty minutes, a run before this one included.
    """
    return f"/{issuer.key_id}/jwks.json"


def key_server(namespace: str, image: str, issuer: Issuer) -> list[Document]:
    """The pod that serves the issuer's public key. It must answer before the policy comes: istiod asks then."""
    return answering.documents(JWKS, namespace, image, {jwks_path(issuer): issuer.jwks}, [JWKS])


def _secret(host: str, tag: str, keys: GatewayKeys, namespace: str) -> Document:
    pair = keys.servers[host]
    clients = {"ca.crt": keys.clients_authority} if host == MUTUAL else {}
    data = {"tls.crt": pair.certificate, "tls.key": pair.key, **clients}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{NAME}-{host.partition('.')[0]}-{tag}", "namespace": namespace},
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
