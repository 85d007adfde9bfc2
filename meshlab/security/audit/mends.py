"""Mends: the YAML that a finding shows. Applied to the object it is for, it takes nothing away but the fault.

There are three forms. A whole object, for `kubectl apply` or `kubectl replace`: what merges drop nothing from it either,
because a field is set to its harmless value and never left out. A patch, of an object that is too large or too private to
be shown: it has no kind, so it can't be applied as the whole. And a fragment of what Istio was installed with.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import yaml

from meshlab.security.audit.objects import Object
from meshlab.security.audit.workloads import Container, all_containers, workload_of

# Of an object's metadata: what its author wrote. The rest is the API server's.
AUTHORED = ("name", "namespace", "labels", "annotations", "finalizers", "ownerReferences")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
TEMPLATED = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController")


def as_yaml(*documents: Object, how: str = "") -> str:
    """Write objects as YAML, keys in the given order.

    Args:
        documents: The objects.
        how: What the reader does with them; a comment above.

    Returns:
        YAML.
    """
    text = yaml.safe_dump_all([dict(each) for each in documents], sort_keys=False, default_flow_style=False)
    return f"# {how}\n{text}" if how else text


def whole(document: Object, spec: Mapping[str, Any] | None = None, how: str = "", **meta: Any) -> str:
    """Write an object as it is, with another spec or other metadata.

    Args:
        document: The object, as the API gives it.
        spec: Its new spec; None to leave it.
        how: What the reader should know.
        meta: New fields of its metadata.

    Returns:
        YAML of the whole object, without what the API server fills in.
    """
    given = {**document["metadata"], **meta}
    kept: dict[str, Any] = {key: given[key] for key in AUTHORED if given.get(key)}
    if notes := {k: v for k, v in (kept.pop("annotations", None) or {}).items() if k != LAST_APPLIED}:
        kept["annotations"] = notes
    head = {"apiVersion": document["apiVersion"], "kind": document["kind"], "metadata": kept}
    written = {"apiVersion", "kind", "metadata", "status", "spec"}
    rest = {key: value for key, value in document.items() if key not in written}
    body = document.get("spec") if spec is None else spec
    content = {**head, **({} if body is None else {"spec": body}), **rest}
    return as_yaml(copy.deepcopy(content), how=how)


def mesh_fragment(**fields: Any) -> str:
    """Fields of the mesh's configuration, to be merged into what Istio was installed with."""
    how = "merge into meshConfig: of the Helm values, or spec.meshConfig of the IstioOperator, and install again"
    return as_yaml({"meshConfig": fields}, how=how)


def patch(pod: Object, spec: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> str:
    """Write a strategic merge patch for what owns a pod.

    Args:
        pod: The pod.
        spec: Fields of the pod's spec; lists merge by their keys, as Kubernetes merges them.
        labels: Of the pod.

    Returns:
        YAML, with the command above it.
    """
    kind, _, name = workload_of(pod).partition(" ")
    namespace, _, name = name.partition("/")
    body: dict[str, Any] = {"metadata": {"labels": dict(labels)}} if labels else {}
    body |= {"spec": dict(spec)} if spec else {}
    if kind in ("Pod", "Node"):
        how = f"a running pod can't be changed: merge into the manifest of {workload_of(pod)}, and make it again"
        return as_yaml(body, how=how)
    template = {"spec": {"template": body}}
    if kind == "Job":
        how = f"a Job can't be changed: merge into the manifest of {namespace}/{name}, or its CronJob's, and make it again"
    elif kind in TEMPLATED:
        how = f"kubectl patch {kind.lower()} {name} -n {namespace} --type=strategic --patch-file=FILE"
    else:
        how = f"merge into the pod template of {kind} {namespace}/{name}"
    return as_yaml(template, how=how)


def container_patch(pod: Object, container: Container, fields: Mapping[str, Any]) -> str:
    """Write a patch of one container of a workload, under the list in which it stands.

    Args:
        pod: A pod of the workload.
        container: The container.
        fields: Its fields.

    Returns:
        YAML, with the command above it.
    """
    first = any(each is container for each in (pod.get("spec") or {}).get("initContainers") or [])
    assert first or any(each is container for each in all_containers(pod))
    where = "initContainers" if first else "containers"
    return patch(pod, {where: [{"name": container["name"], **fields}]})
