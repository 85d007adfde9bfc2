"""Rules about containers: limits, the node's powers, root."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.mends import container_patch, patch
from meshlab.security.audit.model import Examined, Finding, Severity
from meshlab.security.audit.objects import Object
from meshlab.security.audit.workloads import (
    INFRASTRUCTURE,
    INIT,
    Container,
    all_containers,
    own_containers,
    place_of,
    workload_of,
)

STRONG = ("ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "NET_ADMIN", "NET_RAW", "BPF", "DAC_READ_SEARCH")
HOST = {"hostNetwork": "network", "hostPID": "processes", "hostIPC": "IPC"}
LIMITS = {"memory": "256Mi", "cpu": "500m"}
# What a rule says of a container: severity, why, and the fields that mend it; None where nothing is wrong.
Verdict = tuple[Severity, str, Mapping[str, Any]]


def limits(inventory: Inventory) -> Examined:
    """Containers say how much memory and CPU they may take."""
    return _examine("limits", inventory, _unlimited)


def privileged(inventory: Inventory) -> Examined:
    """No container with the node's powers: privileged, strong capabilities, the node's namespaces."""
    found = _examine("privileged", inventory, _powerful)
    init = [pod for pod in inventory.running() if any(c.get("name") == INIT for c in all_containers(pod))]
    note = (
        f"{len(init)} pods begin with {INIT}, which needs NET_ADMIN; Istio's CNI node agent takes its place"
    )
    findings = (*found.findings, *_on_the_host(inventory))
    return Examined(found.looked, found.what, findings, (note,) if init else ())


def run_as_root(inventory: Inventory) -> Examined:
    """Containers say that they don't run as root."""
    return _examine("run-as-root", inventory, _rooted)


def _examine(
    rule: str, inventory: Inventory, judge: Callable[[Object, Container], Verdict | None]
) -> Examined:
    """Judge every container that is not the mesh's own, once per workload."""
    looked = {
        (workload_of(pod), str(container.get("name"))): (pod, container)
        for pod in inventory.running()
        for container in own_containers(pod)
    }
    findings = []
    for pod, container in looked.values():
        if said := judge(pod, container):
            severity, why, fields = said
            why, fix = f"container {container['name']} {why}", container_patch(pod, container, fields)
            findings.append(container_finding(rule, severity, pod, container, why, fix))
    return Examined(len(looked), "containers", tuple(findings))


def _unlimited(pod: Object, container: Container) -> Verdict | None:
    resources = container.get("resources") or {}
    lacks = [each for each in LIMITS if each not in (resources.get("limits") or {})]
    if not lacks:
        return None
    severity = Severity.WARNING if "memory" in lacks else Severity.INFO
    # A limit below the request is refused.
    given = {each: (resources.get("requests") or {}).get(each, LIMITS[each]) for each in lacks}
    why = f"has no limit of {' and '.join(lacks)}: it can starve its node"
    return severity, why, {"resources": {"limits": given}}


def _powerful(pod: Object, container: Container) -> Verdict | None:
    context = container.get("securityContext") or {}
    given = (context.get("capabilities") or {}).get("add") or []
    strong = [each for each in given if each.upper().removeprefix("CAP_") in STRONG]
    if context.get("privileged"):
        why, severity = "is privileged: it can do to its node what root can", Severity.ERROR
    elif strong:
        why, severity = f"has the capabilities {', '.join(strong)}", Severity.WARNING
    else:
        return None
    if place_of(pod) in INFRASTRUCTURE:
        why, severity = f"{why}; {place_of(pod)} needs them", Severity.INFO
    fields: dict[str, Any] = {"privileged": False} if context.get("privileged") else {}
    if strong:
        fields["capabilities"] = {"add": [each for each in given if each not in strong]}
    return severity, why, {"securityContext": fields}


def _rooted(pod: Object, container: Container) -> Verdict | None:
    whole = (pod.get("spec") or {}).get("securityContext") or {}
    own = {k: v for k, v in (container.get("securityContext") or {}).items() if v is not None}
    context = {**whole, **own}
    user = context.get("runAsUser")
    severity = Severity.INFO if place_of(pod) in INFRASTRUCTURE else Severity.WARNING
    if user == 0:
        return severity, "runs as root", {"securityContext": {"runAsNonRoot": True, "runAsUser": 10001}}
    if user is None and not context.get("runAsNonRoot"):
        why = "does not say as whom it runs: the image decides, and may say root"
        return severity, why, {"securityContext": {"runAsNonRoot": True}}
    return None


def _on_the_host(inventory: Inventory) -> Iterator[Finding]:
    seen = set()
    for pod in inventory.running():
        shared = {key: word for key, word in HOST.items() if (pod.get("spec") or {}).get(key)}
        if shared and workload_of(pod) not in seen:
            seen.add(workload_of(pod))
            needed = place_of(pod) in INFRASTRUCTURE
            severity = Severity.INFO if needed else Severity.WARNING
            why = f"shares its node's {', '.join(shared.values())}" + ("; it needs them" if needed else "")
            fix = patch(pod, dict.fromkeys(shared, False))
            yield Finding("privileged", severity, workload_of(pod), why, fix)


def container_finding(
    rule: str, severity: Severity, pod: Object, container: Container, why: str, fix: str
) -> Finding:
    meta = pod["metadata"]
    about = {"namespace": meta["namespace"], "pod": meta["name"], "container": str(container.get("name"))}
    return Finding(rule, severity, workload_of(pod), why, fix, about)
