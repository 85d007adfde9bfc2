"""Every certificate that a gateway names is looked at: several names, whom it trusts, and both APIs."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest

from meshlab.security.audit.inventory import read_inventory
from tests.examples import bad_namespace
from tests.unit.security.audit.samples import NOW, facts, pod, thing
from tests.unit.security.audit.test_rules import ReadableKube, examine

EDGE = pod("edge", "edge", proxy="router", labels={"istio": "edge"})
PEM = bad_namespace.expired_secret(NOW - timedelta(1))["data"]["tls.crt"]


def secret(name: str, home: str = "edge", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": home}, "data": data}


def serving(name: str, home: str = "edge") -> dict[str, Any]:
    return secret(name, home, **{"tls.crt": PEM, "tls.key": "c2VjcmV0"})


def istio(**tls: Any) -> dict[str, Any]:
    server = {"port": {"number": 443, "protocol": "HTTPS"}, "hosts": ["a.test"], "tls": tls}
    return thing("Gateway", "edge", "edge", {"selector": {"istio": "edge"}, "servers": [server]})


def kubernetes(**tls: Any) -> dict[str, Any]:
    listener = {"name": "https", "port": 443, "protocol": "HTTPS", "hostname": "a.test", "tls": tls}
    spec = {"gatewayClassName": "istio", "listeners": [listener]}
    return thing("Gateway.gateway.networking.k8s.io", "edge", "edge", spec)


def found(*objects: dict[str, Any]) -> dict[str, str]:
    """Resource → fix of each certificate that is a finding."""
    read = read_inventory(ReadableKube([EDGE, *objects]), ["edge"], facts({}), now=NOW)  # type: ignore[arg-type]
    assert "c2VjcmV0" not in repr(read)
    return {f.resource: f.fix for f in examine("certificates", read).findings}


@pytest.mark.parametrize(
    ("gateway", "resources"),
    [
        (istio(mode="SIMPLE", credentialName="rsa"), {"Secret edge/rsa"}),
        (istio(mode="SIMPLE", credentialNames=["rsa", "ecdsa"]), {"Secret edge/rsa", "Secret edge/ecdsa"}),
        (istio(mode="MUTUAL", credentialName="rsa"), {"Secret edge/rsa", "Secret edge/rsa-cacert"}),
        (istio(mode="OPTIONAL_MUTUAL", credentialName="rsa"), {"Secret edge/rsa", "Secret edge/rsa-cacert"}),
        (istio(mode="SIMPLE", caCertCredentialName="rsa"), {"Secret edge/rsa-cacert"}),
        (istio(mode="SIMPLE", credentialName="kubernetes-gateway://far/rsa"), {"Secret far/rsa"}),
        (istio(mode="SIMPLE", credentialName="builtin://"), set()),
        (kubernetes(certificateRefs=[{"name": "rsa"}]), {"Secret edge/rsa"}),
        (
            kubernetes(certificateRefs=[{"name": "rsa"}, {"name": "ecdsa"}]),
            {"Secret edge/rsa", "Secret edge/ecdsa"},
        ),
        (kubernetes(certificateRefs=[{"name": "rsa", "namespace": "far"}]), {"Secret far/rsa"}),
        (
            kubernetes(
                certificateRefs=[{"name": "rsa"}], options={"gateway.istio.io/tls-terminate-mode": "MUTUAL"}
            ),
            {"Secret edge/rsa", "Secret edge/rsa-cacert"},
        ),
        (
            kubernetes(frontendValidation={"caCertificateRefs": [{"kind": "ConfigMap", "name": "trust"}]}),
            {"ConfigMap edge/trust"},
        ),
    ],
)
def test_what_a_gateway_names(gateway: dict[str, Any], resources: set[str]) -> None:

    trust = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "trust", "namespace": "edge"},
        "data": {"ca.crt": base64.b64decode(PEM).decode()},
    }
    secrets = [
        serving("rsa"),
        serving("ecdsa"),
        serving("rsa", "far"),
        secret("rsa-cacert", cacert=PEM),
        trust,
    ]
    assert set(found(gateway, *secrets)) == resources


def test_whom_it_trusts_may_stand_in_the_same_secret() -> None:
    both = secret("rsa", **{"tls.crt": PEM, "tls.key": "c2VjcmV0", "ca.crt": PEM})
    fixes = found(istio(mode="MUTUAL", credentialName="rsa"), both)
    assert list(fixes) == ["Secret edge/rsa"]
    assert found(istio(mode="MUTUAL", credentialName="rsa"), secret("rsa-cacert", **{"ca.crt": PEM})) == {
        "Secret edge/rsa-cacert": "# kubectl patch secret rsa-cacert -n edge --type=merge --patch-file=FILE\n"
        "stringData:\n  ca.crt: (the new certificates of whom it trusts, PEM)\n"
    }
