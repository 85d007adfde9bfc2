"""The cluster itself: its nodes and its versions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from meshlab.checks.base import judged
from meshlab.core.text import pluralize
from meshlab.kube.pods import condition
from meshlab.run.results import CheckResult, Table

UNSTAMPED = ("", "unknown", "v0.0.0", "0.0.0")


def nodes_ready(nodes: Sequence[Mapping[str, Any]], wanted: int) -> CheckResult:
    """Judge the nodes: every one is Ready, and there are as many as wanted.

    Evidence: table `nodes` with name, ready, reason, version, ip, runtime.

    Args:
        nodes: Node objects as the API returns them.
        wanted: 0 where the number is not ours to say (one is needed all the same).

    Returns:
        The check.
    """
    rows: Table = [_node_row(node) for node in nodes]
    ready = [row for row in rows if row["ready"]]
    needed = wanted or 1
    problems = [f"node {row['name']} is not Ready: {row['reason']}" for row in rows if not row["ready"]]
    if len(rows) < needed or (wanted and len(rows) != wanted):
        problems.insert(0, f"{pluralize(len(rows), 'nodes')}, {needed} wanted")
    of = wanted or len(rows)
    versions = ", ".join(sorted({row["version"] for row in rows})) or "no version"
    return judged(
        "cluster.nodes-ready",
        problems,
        f"{len(ready)} of {of} nodes Ready ({versions})",
        {"nodes": rows, "ready": len(ready), "wanted": wanted},
        remedy="`kubectl describe node NAME` names the condition; the kubelet's log names the cause",
    )


def version(
    *,
    server: str,
    python_client: str,
    istioctl: str,
    kubectl: str | None = None,
    wanted: str | None = None,
    kubelets: Sequence[str] = (),
) -> CheckResult:
    """Judge the versions of Kubernetes and of its clients: they are known; what differs is named.

    Fails for a version that is missing or unstamped, and for a server that is not the wanted one; skew is
    named, also of a kubectl, which the lab itself does not use. Evidence: table `versions` with component,
    version, skew (minors ahead of the server, None: not comparable).

    Args:
        server: The API server's gitVersion, as v1.36.1.
        python_client: Of the `kubernetes` package, whose major number is the minor of the Kubernetes that
            it was made for.
        istioctl: What it says about itself.
        kubectl: None when it is not on PATH.
        wanted: What the settings ask for.
        kubelets: One version per node.

    Returns:
        The check.
    """
    found = {"server": server, "python client": python_client, "istioctl": istioctl}
    found |= {f"kubelet {v}": v for v in sorted(set(kubelets))}
    if kubectl is not None:
        found["kubectl"] = kubectl
    rows: Table = []
    problems, skewed = [], []
    for component, text in found.items():
        if is_unstamped(text):
            problems.append(f"the version of {component} is {text!r}: it says nothing")
        skew = _skew(component, text, server)
        rows.append({"component": component.split()[0] if component.startswith("kubelet") else component,
                     "version": text, "skew": skew})  # fmt: skip
        if skew:
            skewed.append(
                f"{component} {text} is {abs(skew)} minor {'ahead of' if skew > 0 else 'behind'} the server"
            )
    if wanted and server.lstrip("v").split("+")[0] != wanted.lstrip("v"):
        problems.append(f"the server is {server}, {wanted} was wanted")
    plain = f"server {server}, Python client {python_client}, istioctl {istioctl}"
    plain += f", kubectl {kubectl or 'not on PATH'}"
    return judged(
        "cluster.version",
        problems,
        f"{plain}; {'; '.join(skewed) or 'no skew'}",
        {"versions": rows, "skew": skewed},
        remedy="rebuild with the version stamps, or ask for the version that the cluster has",
    )


def is_unstamped(text: str) -> bool:
    """Whether a version string is one that a build without version stamps prints."""
    core = text.strip().removesuffix("-master").split("-master")[0].split("+")[0].split("-")[0]
    return core in UNSTAMPED


def minor(text: str) -> int | None:
    """The minor number of a version like v1.36.1 or 1.32.1-gke.1357001; None where there is none."""
    found = re.match(r"v?\d+\.(\d+)", text.strip())
    return int(found.group(1)) if found else None


def _skew(component: str, text: str, server: str) -> int | None:
    ours, theirs = minor(text), minor(server)
    if component == "python client":
        ours = int(text.split(".")[0]) if text.split(".")[0].isdigit() else None
    if component in ("server", "istioctl") or ours is None or theirs is None:
        return None
    return ours - theirs


def _node_row(node: Mapping[str, Any]) -> dict[str, Any]:
    status = node.get("status", {})
    ready = condition(node, "Ready")
    addresses = {each["type"]: each["address"] for each in status.get("addresses") or []}
    info = status.get("nodeInfo", {})
    reason = " ".join(filter(None, (ready.get("reason"), ready.get("message")))) or "no Ready condition yet"
    return {
        "name": node["metadata"]["name"],
        "ready": ready.get("status") == "True",
        "reason": reason,
        "version": info.get("kubeletVersion", ""),
        "ip": addresses.get("InternalIP", ""),
        "runtime": info.get("containerRuntimeVersion", ""),
    }
