"""The rule about ports that should not be open: of debuggers, profilers, and of the control plane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.mends import container_patch, whole
from meshlab.security.audit.model import Examined, Finding, Severity
from meshlab.security.audit.objects import Object
from meshlab.security.audit.pod_rules import container_finding
from meshlab.security.audit.workloads import Container, is_meshed, own_containers

RULE = "debug-ports"
# Ports on which runtimes wait for a debugger or a profiler, by their makers' defaults.
DEBUG_PORTS = {
    2345: "Delve (Go)",
    5005: "JDWP (Java)",
    5678: "debugpy (Python)",
    6060: "pprof (Go)",
    9229: "the Node.js inspector",
    15000: "Envoy's admin page",
}
DEBUG_NAMES = ("debug", "jdwp", "pprof", "delve", "inspector")
XDS_PLAIN = 15010  # istiod hands out configuration on it without TLS
DEBUG_AUTH = "ENABLE_DEBUG_ENDPOINT_AUTH"
Port = Mapping[str, Any]


def debug_ports(inventory: Inventory) -> Examined:
    """No port that waits for a debugger, and no unauthenticated port of the control plane."""
    of_pods = [
        (pod, container, port)
        for pod in inventory.running()
        for container in own_containers(pod)
        for port in container.get("ports") or []
    ]
    of_services = [
        (service, port)
        for service in inventory.of("Service")
        for port in (service.get("spec") or {}).get("ports") or []
    ]
    found = [_of_container(*each) for each in of_pods]
    found += [each for pod in inventory.running() for each in _unauthenticated(pod)]
    found += [_of_service(inventory, *each) for each in of_services]
    # Once per workload, however many pods it has.
    findings = {(each.resource, each.why): each for each in found if each is not None}
    looked = len(of_pods) + len(of_services)
    return Examined(looked, "ports of containers and services", tuple(findings.values()))


def _of_container(pod: Object, container: Container, port: Port) -> Finding | None:
    number = port.get("containerPort")
    what = _debugger(number, str(port.get("name", "")))
    if not what:
        return None
    why = f"container {container['name']} offers {what} on port {number}"
    # Kubernetes merges a container's ports by their number.
    fix = container_patch(pod, container, {"ports": [{"$patch": "delete", "containerPort": number}]})
    found = container_finding(RULE, Severity.WARNING, pod, container, why, fix)
    where = {"host": (pod.get("status") or {}).get("podIP", ""), "port": str(number)}
    return replace(found, about={**found.about, **_behind_a_proxy([pod]), **where})


def _of_service(inventory: Inventory, service: Object, port: Port) -> Finding | None:
    meta, spec, number = service["metadata"], service["spec"], port.get("port")
    what = _offered(inventory, service, port)
    if not what:
        return None
    rest = [each for each in spec["ports"] if not _offered(inventory, service, each)]
    delete = f"# kubectl delete service {meta['name']} -n {meta['namespace']} (it offers nothing else)\n"
    chosen = spec.get("selector") or {}
    pods = [
        pod
        for pod in inventory.running(meta["namespace"])
        if chosen.items() <= (pod["metadata"].get("labels") or {}).items()
    ]
    return Finding(
        RULE,
        Severity.WARNING,
        f"Service {meta['namespace']}/{meta['name']}",
        f"port {number} offers {what}",
        whole(service, {**spec, "ports": rest}) if rest else delete,
        {
            "namespace": meta["namespace"],
            "host": f"{meta['name']}.{meta['namespace']}",
            "port": str(number),
            **_behind_a_proxy(pods),
        },
    )


def _offered(inventory: Inventory, service: Object, port: Port) -> str:
    """What is offered on a port of a Service and should not be; empty where nothing is."""
    if port.get("port") == XDS_PLAIN and service["metadata"]["namespace"] in inventory.system:
        return "the mesh's configuration without TLS"
    return _debugger(port.get("port"), str(port.get("name", "")))


def _unauthenticated(pod: Object) -> Iterator[Finding]:
    """Istiod whose debug pages ask nobody who they are."""
    for container in own_containers(pod):
        for entry in container.get("env") or []:
            if entry.get("name") == DEBUG_AUTH and str(entry.get("value", "")).lower() == "false":
                why = f"{DEBUG_AUTH}=false: istiod's debug pages tell the mesh's configuration to anybody"
                fix = container_patch(pod, container, {"env": [{"name": DEBUG_AUTH, "value": "true"}]})
                yield container_finding(RULE, Severity.ERROR, pod, container, why, fix)


def _behind_a_proxy(pods: Sequence[Object]) -> dict[str, str]:
    return {"meshed": "yes"} if any(map(is_meshed, pods)) else {}


def _debugger(port: Any, name: str) -> str:
    if port in DEBUG_PORTS:
        return DEBUG_PORTS[port]
    return f"a debug port ({name})" if any(word in name.lower() for word in DEBUG_NAMES) else ""
