"""A mend that is shown takes nothing away but the fault: each is applied to the object it is for, both ways, and compared."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshlab.security.audit.certificates import Certificate
from meshlab.security.audit.inventory import KINDS, Inventory
from meshlab.security.audit.mends import whole
from meshlab.security.audit.model import Finding
from meshlab.security.audit.rules import RULES
from tests.examples import bad_namespace
from tests.unit.security.audit.mending import apply, changes, documents
from tests.unit.security.audit.samples import facts
from tests.unit.security.audit.test_rules import bad

NOW = datetime(2026, 11, 28, tzinfo=UTC)
# Rule → the only leaves that its mends may touch, as `Kind name path`.
TOUCHES = {
    "strict-mtls": r"PeerAuthentication \S+ spec\.(mtls|portLevelMtls\.\d+)\.mode",
    "default-deny": r"AuthorizationPolicy (\S+ metadata\.annotations\.istio\.io/dry-run|\('\S+', 'allow-nothing'\) )",
    "allow-all": r"AuthorizationPolicy \S+ spec\.rules\.\d+.*",
    "deny-by-path": r"MeshConfig mesh\.pathNormalization\.normalization",
    "gateway-hosts": r"Gateway\S* \S+ spec\.(servers\.\d+\.hosts\.\d+|listeners\.\w+\.hostname)",
    "gateway-tls": r"Gateway \S+ spec\.servers\.\d+\.(tls(\.(httpsRedirect|minProtocolVersion"
    r"|maxProtocolVersion|mode|credentialName))?|port\.protocol)"
    r"|Gateway\.gateway\.networking\.k8s\.io \S+ spec\.listeners\.(raw|https)\..*"
    r"|HTTPRoute \S+ spec\.parentRefs\.\w+.*|HTTPRoute \('\S+', '\S+-to-https'\) ",
    "destination-rule-tls": r"DestinationRule \S+ spec\.(trafficPolicy|subsets\.\w+\.trafficPolicy)(\.portLevelSettings\.\d+)?"
    r"\.tls(\.(mode|insecureSkipVerify))?",
    "egress-policy": r"MeshConfig mesh\.outboundTrafficPolicy\.mode|Sidecar \S+ spec\.outboundTrafficPolicy\.mode",
    "sidecars": r"Pod \S+ metadata\.labels\.(sidecar\.istio\.io/inject|istio\.io/dataplane-mode)",
    "limits": r"Pod \S+ spec\.(initC|c)ontainers\.\w+\.resources(\.limits\.(memory|cpu))?",
    "privileged": r"Pod \S+ spec\.(host(PID|IPC|Network)|(initC|c)ontainers\.\w+\.securityContext"
    r"\.(privileged|capabilities\.add\.\d+))",
    "run-as-root": r"Pod \S+ spec\.(initC|c)ontainers\.\w+\.securityContext(\.(runAsNonRoot|runAsUser))?",
    "token-mounts": r"Pod \S+ spec\.(automountServiceAccountToken|containers\.\w+\.volumeMounts\.token\.\w+"
    r"|containers\.\w+\.volumeMounts\.kube-api-access\.\w+|containers\.\w+\.volumeMounts)",
    "debug-ports": r"Pod \S+ spec\.containers\.\w+\.(ports(\.\w+\.\w+)?|env\.ENABLE_DEBUG_ENDPOINT_AUTH\.value)"
    r"|Service \S+ spec\.ports\.(pprof|jdwp)\.\w+|Service \('shop', 'debugger'\) ",
    "injection": r"Namespace \S+ metadata\.labels(\.(istio-injection|istio\.io/rev))?",
}
# What only their reader can complete: an upgrade, accounts, a certificate, the proxies' restart, the reading of a page.
COMPLETED_BY_THE_READER = {
    "istio-version",
    "shared-accounts",
    "certificates",
    "first-party-tokens",
    "analyze",
}
# Beside what is written, these mends take their effect when pods start again.
RESTARTS = {"sidecars", "injection"}


@cache
def sample() -> Inventory:
    """The objects of audit-mends.yaml as an inventory, without default, and with a certificate of each kind."""
    path = Path(bad_namespace.__file__).with_name("audit-mends.yaml")
    objects: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    for each in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        kind = next(
            name
            for name, version in KINDS.items()
            if (name.partition(".")[0], version) == (each["kind"], each["apiVersion"])
        )
        objects[kind].append(each)
    serves = (("tls.crt", "certificate chain"), ("tls.key", "private key"))
    dates = {"Secret shop/edge": serves, "ConfigMap istio-system/istio-ca-root-cert": ()}
    return Inventory(
        {kind: tuple(found) for kind, found in objects.items()},
        ("istio-system", "plain", "shop"),
        facts({"accessLogFile": "/dev/stdout"}),
        certificates=tuple(
            Certificate(r, "it", "CN=x", NOW - timedelta(1), keys) for r, keys in dates.items()
        ),
        versions=("1.24.0",),
        now=NOW,
    )


@cache
def findings() -> list[tuple[str, Finding, Inventory]]:
    both = (sample(), bad())
    found = [(rule.id, f, inv) for inv in both for rule in RULES for f in rule.examine(inv).findings]
    assert len(found) > 60
    return found


def told(rule: str, inventory: Inventory) -> set[tuple[str, str]]:
    return {
        (f.resource, f.why) for each in RULES if each.id == rule for f in each.examine(inventory).findings
    }


def restarted(inventory: Inventory) -> Inventory:
    """Pods as injection makes them anew."""
    asking = {
        each["metadata"]["name"]
        for each in inventory.of("Namespace")
        if (each["metadata"].get("labels") or {}).get("istio-injection") == "enabled"
    }
    proxy = {"name": "istio-proxy", "restartPolicy": "Always"}
    pods = []
    for pod in inventory.of("Pod"):
        meta, spec = pod["metadata"], pod["spec"]
        out = (meta.get("labels") or {}).get("sidecar.istio.io/inject") == "false"
        if meta["namespace"] in asking and not out:
            spec = {**spec, "initContainers": [*(spec.get("initContainers") or []), proxy]}
        pods.append({**pod, "spec": spec})
    return replace(inventory, objects={**inventory.objects, "Pod": tuple(pods)})


@pytest.mark.parametrize("merge", [False, True], ids=["in its place", "merged"])
@pytest.mark.parametrize("rule", TOUCHES)
def test_a_mend_takes_nothing_away_but_the_fault(rule: str, merge: bool) -> None:
    mine = [(finding, inventory) for its_rule, finding, inventory in findings() if its_rule == rule]
    assert mine, "the samples have no case of it"
    for finding, inventory in mine:
        after = apply(finding.fix, finding.resource, inventory, merge=merge)
        changed = changes(inventory, after)
        wrong = [c for c in changed if not re.fullmatch(TOUCHES[rule], f"{c.resource} {c.path}")]
        assert changed and wrong == [], finding.fix
        again = restarted(after) if rule in RESTARTS else after
        assert (finding.resource, finding.why) not in told(rule, again), finding.fix
        assert told(rule, again) <= told(rule, inventory), "it makes no new finding"


@pytest.mark.parametrize("rule", sorted(COMPLETED_BY_THE_READER))
def test_what_the_reader_completes_takes_nothing_away(rule: str) -> None:
    """Made with `kubectl create`, patched in, or a fragment: none is an object that could be put in the place of another."""
    for its_rule, finding, _ in findings():
        if its_rule == rule:
            for comment, document in documents(finding.fix):
                assert comment or "kind" in document, finding.fix
                assert "kind" not in document or (
                    rule == "shared-accounts" and "kubectl create" in finding.fix
                )


def test_every_rule_is_one_of_the_two() -> None:
    assert {rule.id for rule in RULES} == {*TOUCHES, *COMPLETED_BY_THE_READER}


@pytest.mark.parametrize("merge", [False, True])
def test_mends_of_one_rule_may_all_be_applied(merge: bool) -> None:
    """One after the other, in any order: none brings back what another took away."""
    for rule in TOUCHES:
        inventory = sample()
        every = [f for each in RULES if each.id == rule for f in each.examine(inventory).findings]
        after = inventory
        for finding in every[::-1]:
            after = apply(finding.fix, finding.resource, after, merge=merge)
        assert told(rule, restarted(after) if rule in RESTARTS else after) == set(), rule


def test_what_is_secret_in_a_workload_is_not_shown() -> None:
    assert not [f.fix for _, f, _ in findings() if "hunter2" in f.fix]


def test_the_comparison_finds_what_a_mend_takes_away() -> None:
    """The control: a mend of one server alone, as it was once, drops the five others and the labels."""
    inventory = sample()
    gateway = inventory.of("Gateway")[0]
    narrow = whole(gateway, {**gateway["spec"], "servers": gateway["spec"]["servers"][:1]}, labels={})
    changed = changes(inventory, apply(narrow, "Gateway shop/both", inventory, merge=False))
    lost = {c.path.split(".")[0] + "." + c.path.split(".")[1] for c in changed if c.after is None}
    assert lost == {"metadata.labels", "spec.servers"}
