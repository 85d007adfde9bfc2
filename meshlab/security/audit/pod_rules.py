"""Rules about pods: limits, privileges, root, service accounts and their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshlab.security.audit.inventory import Inventory, Object
from meshlab.security.audit.model import Examined, Finding, Severity, as_yaml
from meshlab.security.audit.workloads import INIT, Container, all_containers, own_containers, workload_of

STRONG = ("ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "NET_ADMIN", "NET_RAW", "BPF", "DAC_READ_SEARCH")
HOST = {"hostNetwork": "network", "hostPID": "processes", "hostIPC": "IPC"}
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


def limits(inventory: Inventory) -> Examined:
    """Containers say how much memory and CPU they may take."""
    looked, findings = _each_container(inventory), []
    for pod, container in looked.values():
        given = (container.get("resources") or {}).get("limits") or {}
        lacks = [each for each in ("memory", "cpu") if each not in given]
        if lacks:
            severity = Severity.WARNING if "memory" in lacks else Severity.INFO
            fix = patch(container, {"resources": {"limits": {"memory": "256Mi", "cpu": "500m"}}})
            why = (
                f"container {container['name']} has no limit of {' and '.join(lacks)}: it can starve its node"
            )
            findings.append(container_finding("limits", severity, pod, container, why, fix))
    return Examined(len(looked), "containers", tuple(findings))


def privileged(inventory: Inventory) -> Examined:
    """No container with the node's powers: privileged, strong capabilities, the node's namespaces."""
    looked, findings = _each_container(inventory), []
    for pod, container in looked.values():
        context = container.get("securityContext") or {}
        added = [c for c in (context.get("capabilities") or {}).get("add") or [] if c.upper() in STRONG]
        if context.get("privileged"):
            why, severity = "is privileged: it can do to its node what root can", Severity.ERROR
        elif added:
            why, severity = f"has the capabilities {', '.join(added)}", Severity.WARNING
        else:
            continue
        fix = patch(
            container,
            {
                "securityContext": {
                    "privileged": False,
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                }
            },
        )
        findings.append(
            container_finding(
                "privileged", severity, pod, container, f"container {container['name']} {why}", fix
            )
        )
    findings += list(_on_the_host(inventory))
    init = [pod for pod in inventory.running() if any(c.get("name") == INIT for c in all_containers(pod))]
    notes = (
        (
            f"{len(init)} pods begin with {INIT}, which needs NET_ADMIN; Istio's CNI node agent takes its place",
        )
        if init
        else ()
    )
    return Examined(len(looked), "containers", tuple(findings), notes)


def run_as_root(inventory: Inventory) -> Examined:
    """Containers say that they don't run as root."""
    looked, findings = _each_container(inventory), []
    for pod, container in looked.values():
        whole = (pod.get("spec") or {}).get("securityContext") or {}
        context = {
            **whole,
            **{k: v for k, v in (container.get("securityContext") or {}).items() if v is not None},
        }
        user = context.get("runAsUser")
        if user == 0:
            why = "runs as root"
        elif user is None and not context.get("runAsNonRoot"):
            why = "does not say as whom it runs: the image decides, and may say root"
        else:
            continue
        fix = patch(container, {"securityContext": {"runAsNonRoot": True, "runAsUser": 10001}})
        findings.append(
            container_finding(
                "run-as-root", Severity.WARNING, pod, container, f"container {container['name']} {why}", fix
            )
        )
    return Examined(len(looked), "containers", tuple(findings))


def shared_accounts(inventory: Inventory) -> Examined:
    """Each application has a service account of its own: the mesh's identities, and so its policies, follow them."""
    users: dict[tuple[str, str], set[str]] = {}
    for pod in inventory.running():
        labels = pod["metadata"].get("labels") or {}
        app = labels.get("app") or labels.get("app.kubernetes.io/name") or workload_of(pod).rpartition("/")[2]
        users.setdefault((pod["metadata"]["namespace"], _account(pod)), set()).add(app)
    findings = []
    for (namespace, account), apps in sorted(users.items()):
        if len(apps) > 1:
            names = sorted(apps)
            fix = as_yaml(
                *(
                    {
                        "apiVersion": "v1",
                        "kind": "ServiceAccount",
                        "metadata": {"name": name, "namespace": namespace},
                    }
                    for name in names
                )
            )
            why = f"{', '.join(names)} share one identity: no policy can tell them apart"
            findings.append(
                Finding(
                    "shared-accounts", Severity.WARNING, f"ServiceAccount {namespace}/{account}", why, fix
                )
            )
    return Examined(len(users), "service accounts in use", tuple(findings))


def token_mounts(inventory: Inventory) -> Examined:
    """Pods whose service account is bound to no role don't carry its token."""
    bound = {
        (s.get("namespace") or b["metadata"].get("namespace", ""), s.get("name", ""))
        for kind in ("RoleBinding", "ClusterRoleBinding")
        for b in inventory.of(kind)
        for s in b.get("subjects") or []
        if s.get("kind") == "ServiceAccount"
    }
    pods = inventory.running()
    found: dict[str, Finding] = {}
    for pod in pods:
        holder = next((c for c in own_containers(pod) if _mounts_token(c)), None)
        namespace, account = pod["metadata"]["namespace"], _account(pod)
        if holder is None or (namespace, account) in bound:
            continue
        fix = as_yaml({"spec": {"template": {"spec": {"automountServiceAccountToken": False}}}})
        why = f"carries a token of {account}, which no role is bound to: of use to an intruder only"
        found.setdefault(
            workload_of(pod), container_finding("token-mounts", Severity.WARNING, pod, holder, why, fix)
        )
    return Examined(len(pods), "pods", tuple(found.values()))


def _on_the_host(inventory: Inventory) -> Iterator[Finding]:
    seen = set()
    for pod in inventory.running():
        shared = [word for key, word in HOST.items() if (pod.get("spec") or {}).get(key)]
        if shared and workload_of(pod) not in seen:
            seen.add(workload_of(pod))
            fix = as_yaml({"spec": {"template": {"spec": dict.fromkeys(HOST, False)}}})
            why = f"shares its node's {', '.join(shared)}"
            yield Finding("privileged", Severity.WARNING, workload_of(pod), why, fix)


def _each_container(inventory: Inventory) -> dict[tuple[str, str], tuple[Object, Container]]:
    """Every container that is not the mesh's own, once per workload."""
    return {
        (workload_of(pod), str(container.get("name"))): (pod, container)
        for pod in inventory.running()
        for container in own_containers(pod)
    }


def container_finding(
    rule: str, severity: Severity, pod: Object, container: Container, why: str, fix: str
) -> Finding:
    meta = pod["metadata"]
    about = {"namespace": meta["namespace"], "pod": meta["name"], "container": str(container.get("name"))}
    return Finding(rule, severity, workload_of(pod), why, fix, about)


def patch(container: Container, fields: Mapping[str, Any]) -> str:
    """Write what to merge into a workload's template.

    Args:
        container: The container.
        fields: Its fields.

    Returns:
        YAML.
    """
    return as_yaml({"spec": {"template": {"spec": {"containers": [{"name": container["name"], **fields}]}}}})


def _account(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("serviceAccountName") or "default")


def _mounts_token(container: Container) -> bool:
    return any(m.get("mountPath") == TOKEN_PATH for m in container.get("volumeMounts") or [])
