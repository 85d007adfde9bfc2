"""Each rule finds its case in the bad namespace, and only it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from meshlab.checks.base import CATALOG
from meshlab.core.errors import KubeError
from meshlab.istio.control_plane import ControlPlane
from meshlab.istio.istioctl import Finding as Analyzed
from meshlab.security.audit.inventory import KINDS, Inventory, read_inventory
from meshlab.security.audit.model import Examined, Severity
from meshlab.security.audit.rules import RULES
from tests.examples import bad_namespace
from tests.fakes.kube import FakeKube
from tests.unit.security.audit.samples import facts, pod, thing
from tests.unit.security.audit.samples import inventory as inventory_of

NOW = datetime.now(UTC)
ROOT_STRICT = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "default", "namespace": "istio-system"},
    "spec": {"mtls": {"mode": "STRICT"}},
}
NAMESPACES = [bad_namespace.NAMESPACE, bad_namespace.PLAIN]


class ReadableKube(FakeKube):
    """A FakeKube that serves the audit's kinds, and refuses to list those of `forbidden`."""

    forbidden: tuple[str, ...] = ()

    def __init__(self, objects: Any = ()) -> None:
        super().__init__(objects)
        self.kinds |= {
            (version, kind.partition(".")[0]): kind not in ("Namespace", "ClusterRoleBinding", "GatewayClass")
            for kind, version in KINDS.items()
        }
        self.kinds["v1", "Secret"] = True

    def objects(self, api_version: str, kind: str, *args: Any, **options: Any) -> list[dict[str, Any]]:
        if kind in self.forbidden:
            raise KubeError(f"list {kind}: forbidden", status=403)
        return super().objects(api_version, kind, *args, **options)


def examine(name: str, inventory: Inventory) -> Examined:
    """What a rule finds."""
    return next(rule for rule in RULES if rule.id == name).examine(inventory)


def bad(*more: dict[str, Any], **mesh: Any) -> Inventory:
    objects = bad_namespace.as_admitted(bad_namespace.documents())
    mesh = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}} | mesh
    kube = ReadableKube([*objects, ROOT_STRICT, *more])
    return read_inventory(kube, NAMESPACES, facts(mesh), now=NOW, versions=["1.31.1"])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return bad()


@pytest.mark.parametrize("rule", bad_namespace.EXPECTED)
def test_each_rule_finds_its_case_and_only_it(inventory: Inventory, rule: str) -> None:
    examined = examine(rule, inventory)
    assert {finding.resource for finding in examined.findings} == bad_namespace.EXPECTED[rule]
    assert examined.looked >= len(examined.findings)
    for finding in examined.findings:
        assert finding.rule == rule and finding.severity.fails and finding.why
        assert next(iter(yaml.safe_load_all(finding.fix))), "the fix is YAML"


def test_every_rule_has_a_case() -> None:
    assert {rule.id for rule in RULES} == set(bad_namespace.EXPECTED) | {"istio-version", "analyze"}


def test_every_rule_is_a_check() -> None:
    assert {rule.check for rule in RULES} == {name for name in CATALOG if name.startswith("audit.")}


def test_an_empty_cluster_has_nothing_to_look_at() -> None:
    nothing = Inventory(facts=facts({"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}), now=NOW)
    for rule in RULES:
        examined = rule.examine(nothing)
        if rule.id == "strict-mtls":
            assert [f.severity for f in examined.findings] == [Severity.ERROR]
        else:
            assert examined.findings == () and examined.looked == (rule.id == "egress-policy"), rule.id


def test_the_mesh_itself() -> None:
    inventory = bad(outboundTrafficPolicy={"mode": "ALLOW_ANY"})
    strict = {**ROOT_STRICT, "spec": {"mtls": {"mode": "PERMISSIVE"}}}
    found = [f.resource for f in examine("egress-policy", inventory).findings]
    assert found == ["MeshConfig istio-system/istio", "Sidecar audit-bad/open-egress"]
    objects = {**inventory.objects, "PeerAuthentication": (strict,)}
    (finding,) = examine("strict-mtls", replace(inventory, objects=objects)).findings
    assert finding.resource == "PeerAuthentication istio-system/default" and "PERMISSIVE" in finding.why


def test_of_several_for_the_whole_mesh_the_oldest_rules() -> None:
    inventory = bad()

    def whole(name: str, mode: str, made: str) -> dict[str, Any]:
        meta = {"name": name, "namespace": "istio-system", "creationTimestamp": made}
        return {**ROOT_STRICT, "metadata": meta, "spec": {"mtls": {"mode": mode}}}

    old, new = (
        whole("first", "PERMISSIVE", "2026-01-01T00:00:00Z"),
        whole("b", "STRICT", "2026-02-01T00:00:00Z"),
    )
    objects = {**inventory.objects, "PeerAuthentication": (new, old)}
    (finding,) = examine("strict-mtls", replace(inventory, objects=objects)).findings
    assert finding.resource == "PeerAuthentication istio-system/first" and "PERMISSIVE" in finding.why


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({}, True),
        ({"to": [{"operation": {"methods": ["*"], "paths": ["/*"]}}]}, True),
        ({"to": [{"operation": {"methods": ["GET"]}}]}, False),
        ({"to": [{"operation": {"paths": ["*"], "notPaths": ["/admin"]}}]}, False),
        ({"from": [{"source": {"principals": ["*"]}}]}, False),
    ],
)
def test_a_rule_of_nothing_but_stars_allows_all(rule: dict[str, Any], found: bool) -> None:
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "wide", "namespace": "audit-bad"},
        "spec": {"rules": [rule]},
    }
    named = {each.resource for each in examine("allow-all", bad(policy)).findings}
    assert ("AuthorizationPolicy audit-bad/wide" in named) is found


def test_every_host_of_a_domain_is_told_and_fails_nothing() -> None:
    gateway = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "domain", "namespace": "audit-bad"},
        "spec": {
            "servers": [
                {
                    "port": {"number": 443, "protocol": "HTTPS"},
                    "hosts": ["./*.example.com"],
                    "tls": {"mode": "SIMPLE"},
                }
            ]
        },
    }
    [one] = [f for f in examine("gateway-hosts", bad(gateway)).findings if f.resource.endswith("domain")]
    assert one.severity is Severity.INFO and "*.example.com" in one.why


def test_certificates_that_may_not_be_read_are_told() -> None:
    kube = ReadableKube([*bad_namespace.as_admitted(bad_namespace.documents())])
    kept, plain = [], kube.get

    def get(api_version: str, kind: str, *args: Any) -> Any:
        kept.append(kind)
        if kind == "Secret":
            raise KubeError("get Secret: forbidden", status=403)
        return plain(api_version, kind, *args)

    kube.get = get  # type: ignore[method-assign]
    examined = examine("certificates", read_inventory(kube, NAMESPACES, facts({}), now=NOW))  # type: ignore[arg-type]
    assert examined.notes[0].startswith("WARNING: not all could be read: get Secret")
    assert kept[-1] == "ConfigMap", "the root's certificate is still read"


def test_namespaces_that_are_strict_by_themselves() -> None:
    inventory = bad()
    own = {**ROOT_STRICT, "metadata": {"name": "default", "namespace": "audit-bad"}}
    objects = {**inventory.objects, "PeerAuthentication": (own,)}
    (finding,) = examine("strict-mtls", replace(inventory, objects=objects)).findings
    assert finding.severity is Severity.INFO and finding.why.endswith("by themselves: audit-bad")


def test_normalised_paths_may_be_denied() -> None:
    assert examine("deny-by-path", bad(pathNormalization={"normalization": "MERGE_SLASHES"})).findings == ()


def test_a_default_deny_of_the_root_namespace_covers_all() -> None:
    deny = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "allow-nothing", "namespace": "istio-system"},
        "spec": {},
    }
    assert examine("default-deny", bad(deny)).findings == ()


def test_a_bound_account_needs_its_token() -> None:
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reader", "namespace": "audit-bad"},
        "subjects": [{"kind": "ServiceAccount", "name": "token"}],
    }
    assert examine("token-mounts", bad(binding)).findings == ()


def test_analyze_is_merged_and_not_repeated(inventory: Inventory) -> None:
    messages = (
        Analyzed("IST0101", "Error", "VirtualService audit-bad/x", "host not found", "docs"),
        Analyzed("IST0102", "Info", "Namespace audit-bad-plain", "not injected"),
        Analyzed("IST0101", "Error", "VirtualService elsewhere/x", "host not found"),
    )
    examined = examine("analyze", replace(inventory, analyzed=messages))
    assert examined.looked == 2 and examined.notes == ("1 of them are told by injection and sidecars",)
    assert [(f.severity, f.resource) for f in examined.findings] == [
        (Severity.ERROR, "VirtualService audit-bad/x")
    ]


def test_keys_are_not_kept(inventory: Inventory) -> None:
    (expired,) = [c for c in inventory.certificates if c.resource.startswith("Secret")]
    assert expired.subject == "CN=expired.example.com" and expired.not_after < NOW
    assert "Secret" not in inventory.objects and "PRIVATE KEY" not in repr(inventory)


def test_what_may_not_be_read_is_noted() -> None:
    kube = ReadableKube([*bad_namespace.documents()])
    kube.forbidden = ("ClusterRoleBinding",)
    found = read_inventory(kube, NAMESPACES, facts({}), now=NOW)  # type: ignore[arg-type]
    assert found.unreadable == {"ClusterRoleBinding": "list ClusterRoleBinding: forbidden"}
    assert len(found.of("Pod")) == 12


def test_other_namespaces_are_not_looked_at() -> None:
    everything = [*bad_namespace.as_admitted(bad_namespace.documents()), ROOT_STRICT]
    found = read_inventory(ReadableKube(everything), ["other"], facts({}), now=NOW)  # type: ignore[arg-type]
    assert found.of("Pod") == () and [p["metadata"]["name"] for p in found.of("PeerAuthentication")] == [
        "default"
    ]


def test_names_are_those_of_the_mesh() -> None:
    """Another revision, trust domain, cluster domain and root namespace: findings and mends name these."""
    plane = ControlPlane("istiod-stable", "mesh", "stable", True, tags=("prod",))
    config = {"trustDomain": "corp.example", "rootNamespace": "mesh-config"}
    more = {"config_maps": ("mesh/shared", "mesh/istio-stable"), "cluster_domain": "corp.local"}
    told = facts(config, plane, **more)
    objects = [
        thing("Namespace", "plain", None, labels={}),
        pod("x", "plain"),
        thing("DestinationRule", "it", spec={"host": "a.b.svc.corp.local", "trafficPolicy": {"tls": {}}}),
        thing("Service", "istiod-stable", "mesh", {"ports": [{"port": 15010}, {"port": 15012}]}),
    ]
    seen = replace(inventory_of(*objects), facts=told)
    fixes = {
        f.resource: f.fix for rule in RULES for f in rule.examine(seen).findings if rule.id != "injection"
    }
    assert "MeshConfig mesh/istio-stable" in fixes and "Service mesh/istiod-stable" in fixes
    assert "namespace: mesh-config" in fixes["PeerAuthentication mesh-config/default"]
    assert "mode: ISTIO_MUTUAL" in fixes["DestinationRule shop/it"]
    (asked,) = examine("injection", seen).findings
    assert "istio.io/rev: prod" in asked.fix and "istio-injection" not in asked.fix


def test_a_mesh_whose_control_plane_is_not_known_is_not_judged_by_its_configuration() -> None:
    kube, why = ReadableKube(), {"serving": "several control planes run"}
    found = read_inventory(kube, NAMESPACES, facts({}, unknown=why), now=NOW)  # type: ignore[arg-type]
    assert found.unreadable["mesh configuration"] == "several control planes run"
