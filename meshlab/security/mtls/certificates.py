"""The certificates with which proxies prove who they are. Only public parts are read: Envoy blanks keys out.

Where they come from: `/config_dump` of a proxy (its own chain, and the root that it trusts), and a TLS
handshake with the server's port, as any peer would make it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from meshlab.core.address import host_port
from meshlab.core.errors import ExecError, QueryError
from meshlab.envoy.admin import PROXY_PORT, Pages
from meshlab.kube.client import Kube
from meshlab.kube.exec import run_in_pod
from meshlab.security.mtls.capture import CapturePlace, program

OWN, ROOT = "default", "ROOTCA"  # names of the secrets that the agent serves its proxy
ALPN = "istio"  # what a sidecar's client offers; the server's mTLS filter chain matches it
ROTATION_SHARE = 0.5  # of its life after which the agent renews a certificate (SECRET_GRACE_PERIOD_RATIO)


@dataclass(frozen=True)
class Held:
    """What a proxy holds. chain: its own certificate first. roots: those that it trusts. updated: since when."""

    pod: str
    chain: tuple[x509.Certificate, ...]
    roots: tuple[x509.Certificate, ...]
    updated: datetime

    @property
    def leaf(self) -> x509.Certificate:
        """Its own certificate."""
        return self.chain[0]


def held_by(pages: Pages, namespace: str, pod: str) -> Held:
    """Read the certificates of a pod's proxy.

    Args:
        pages: Reads the proxy's admin pages.
        namespace: Of the pod.
        pod: Its name.

    Returns:
        Its chain and the roots that it trusts.

    Raises:
        QueryError: The proxy holds no certificate.
    """
    asked = {"resource": "dynamic_active_secrets"}
    dump = pages.json(namespace, pod, PROXY_PORT, "/config_dump", asked)
    secrets = {each.get("name"): each for each in dump.get("configs") or []}
    try:
        own, root = secrets[OWN], secrets[ROOT]
        return Held(
            pod=pod,
            chain=_parsed(own["secret"]["tls_certificate"]["certificate_chain"]),
            roots=_parsed(root["secret"]["validation_context"]["trusted_ca"]),
            updated=datetime.fromisoformat(own["last_updated"]),
        )
    except (KeyError, ValueError) as problem:
        raise QueryError(
            f"the proxy of {namespace}/{pod} holds no workload certificate: {problem!r}",
            remedy=f"istioctl proxy-config secret {pod}.{namespace}",
        ) from problem


def presented(
    kube: Kube, place: CapturePlace, targets: Sequence[tuple[str, int]], *, seconds: float = 5.0
) -> dict[str, x509.Certificate | str]:
    """The certificate that each target (address, port) shows in a handshake, or why there was none, by host:port.

    place: a container outside the mesh that has Python. Raises ExecError when the program itself fails.
    """
    wanted = {"targets": [list(each) for each in targets], "alpn": ALPN, "seconds": seconds}
    done = run_in_pod(
        kube,
        place.namespace,
        place.pod,
        place.container,
        ["python3", "-c", program("handshake_program"), json.dumps(wanted)],
        timeout=seconds * len(targets) + 30,
        check=True,
    )
    try:
        answers: list[Mapping[str, str]] = json.loads(done.stdout)
    except ValueError as problem:
        raise ExecError(
            f"the handshakes from {place.pod} answered {done.stdout[:200]!r}", remedy="run the check again"
        ) from problem
    return {
        host_port(*target): x509.load_der_x509_certificate(base64.b64decode(answer["certificate"]))
        if "certificate" in answer
        else answer["error"]
        for target, answer in zip(targets, answers, strict=True)
    }


def identities(certificate: x509.Certificate) -> tuple[str, ...]:
    """The URI names in a certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.UniformResourceIdentifier))


def chain_problem(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> str:
    """Say why a chain does not lead to one of the roots; empty when it does.

    Args:
        chain: Certificates, the leaf first.
        roots: Those that are trusted.

    Returns:
        The reason.
    """
    for lower, upper in pairwise(chain):
        if (why := _issued(lower, upper)) and lower not in roots:
            return why
    last = chain[-1]
    if last in roots:
        return ""
    reasons = [_issued(last, root) for root in roots]
    return "" if "" in reasons else "; ".join(reasons) or "there is no root"


def rotation_due(certificate: x509.Certificate) -> datetime:
    """When Istio's agent renews it: half of its life before it ends, by default."""
    begin, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return ends - (ends - begin) * ROTATION_SHARE


def fingerprint(certificate: x509.Certificate) -> str:
    """The first 16 hexadecimal digits of its SHA-256."""
    return certificate.fingerprint(hashes.SHA256()).hex()[:16]


def row(certificate: x509.Certificate, now: datetime | None = None) -> dict[str, Any]:
    """Describe a certificate as a row of evidence; no key, no PEM.

    Args:
        certificate: The certificate.
        now: The time against which its rest is counted; None for the present.

    Returns:
        Identity, issuer, fingerprint, times and the hours that are left.
    """
    now = now or datetime.now(UTC)
    return {
        "identity": ", ".join(identities(certificate)),
        "issuer": certificate.issuer.rfc4514_string(),
        "fingerprint": fingerprint(certificate),
        "valid_from": certificate.not_valid_before_utc.isoformat(),
        "expires": certificate.not_valid_after_utc.isoformat(),
        "hours_left": round((certificate.not_valid_after_utc - now).total_seconds() / 3600, 1),
        "rotation_due": rotation_due(certificate).isoformat(),
    }


def _issued(lower: x509.Certificate, upper: x509.Certificate) -> str:
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError) as problem:
        return f"{upper.subject.rfc4514_string()} did not issue it: {problem}"
    except InvalidSignature:
        return f"its signature is not {upper.subject.rfc4514_string()}'s"
    return ""


def _parsed(source: Mapping[str, str]) -> tuple[x509.Certificate, ...]:
    text = (
        base64.b64decode(source["inline_bytes"])
        if "inline_bytes" in source
        else source["inline_string"].encode()
    )
    return tuple(x509.load_pem_x509_certificates(text))
