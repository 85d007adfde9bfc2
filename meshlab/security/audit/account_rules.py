"""Rules about service accounts: one for each application, and no token without use."""

from __future__ import annotations

from collections.abc import Iterator

from meshlab.security.audit.inventory import Inventory
from meshlab.security.audit.mends import as_yaml, patch
from meshlab.security.audit.model import Examined, Finding, Severity
from meshlab.security.audit.objects import Object
from meshlab.security.audit.pod_rules import container_finding
from meshlab.security.audit.workloads import Container, own_containers, workload_of

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
BOOTSTRAP = ("kubernetes.io/bootstrapping", "rbac-defaults")  # bindings that every cluster begins with
ALL_ACCOUNTS, USER = "system:serviceaccounts", "system:serviceaccount:"
EVERYBODY = (ALL_ACCOUNTS, "system:authenticated")


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
            made = [
                {
                    "apiVersion": "v1",
                    "kind": "ServiceAccount",
                    "metadata": {"name": name, "namespace": namespace},
                }
                for name in sorted(apps)
                if (namespace, name) not in users
            ]
            how = "kubectl create -f FILE (it leaves accounts that are there as they are), then serviceAccountName of each"
            why = f"{', '.join(sorted(apps))} share one identity: no policy can tell them apart"
            name = f"ServiceAccount {namespace}/{account}"
            fix = as_yaml(*made, how=how)
            findings.append(Finding("shared-accounts", Severity.WARNING, name, why, fix))
    return Examined(len(users), "service accounts in use", tuple(findings))


def token_mounts(inventory: Inventory) -> Examined:
    """Pods whose service account is bound to no role don't carry its token."""
    bound = set(_bound(inventory))
    pods = inventory.running()
    found: dict[str, Finding] = {}
    for pod in pods:
        holder = next((c for c in own_containers(pod) if _mounts_token(c)), None)
        namespace, account = pod["metadata"]["namespace"], _account(pod)
        if holder is None or bound & {(namespace, account), (namespace, ""), ("", "")}:
            continue
        fix = patch(pod, {"automountServiceAccountToken": False})
        why = f"carries a token of {account}, which no role is bound to: of use to an intruder only"
        one = container_finding("token-mounts", Severity.WARNING, pod, holder, why, fix)
        found.setdefault(workload_of(pod), one)
    return Examined(len(pods), "pods", tuple(found.values()))


def _bound(inventory: Inventory) -> Iterator[tuple[str, str]]:
    """(namespace, account) that some binding names; an empty account stands for all of a namespace, both for all there are.

    The bindings that a cluster begins with give every account what needs no token of its own to be worth anything.
    """
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        for binding in inventory.of(kind):
            meta = binding["metadata"]
            default = (meta.get("labels") or {}).get(BOOTSTRAP[0]) == BOOTSTRAP[1]
            for subject in binding.get("subjects") or []:
                sort, name = subject.get("kind"), str(subject.get("name", ""))
                if sort == "ServiceAccount":
                    yield str(subject.get("namespace") or meta.get("namespace", "")), name
                elif sort == "User" and name.startswith(USER):
                    namespace, _, account = name.removeprefix(USER).partition(":")
                    yield namespace, account
                elif sort == "Group" and name.startswith(f"{ALL_ACCOUNTS}:"):
                    yield name.removeprefix(f"{ALL_ACCOUNTS}:"), ""
                elif sort == "Group" and name in EVERYBODY and not default:
                    yield "", ""


def _account(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("serviceAccountName") or "default")


def _mounts_token(container: Container) -> bool:
    return any(m.get("mountPath") == TOKEN_PATH for m in container.get("volumeMounts") or [])
