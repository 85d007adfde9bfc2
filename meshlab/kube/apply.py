"""Server-side apply of whole manifests, and their removal: both may run twice."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from meshlab.core.errors import InputError, KubeError, MeshlabError, Problem
from meshlab.core.waiting import Clock, wait
from meshlab.kube.client import Kube
from meshlab.kube.pods import condition

log = logging.getLogger(__name__)
ORDER = (
    ("Namespace",),
    ("CustomResourceDefinition",),
    ("PriorityClass", "StorageClass"),
    ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    ("Secret", "ConfigMap", "LimitRange", "ResourceQuota", "PersistentVolume", "PersistentVolumeClaim"),
    ("Service",),
    ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod", "ReplicaSet"),
    ("PodDisruptionBudget", "HorizontalPodAutoscaler", "Ingress", "NetworkPolicy"),
    # Custom resources come here: what validates them runs by now.
)
LAST = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
SERVER_SET = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation")


@dataclass(frozen=True, order=True)
class ObjectRef:
    """Names one object of the cluster. namespace is None for objects that belong to the whole cluster."""

    api_version: str
    kind: str
    namespace: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


_note: ContextVar[Callable[[ObjectRef], None] | None] = ContextVar("note", default=None)


@contextmanager
def noting(note: Callable[[ObjectRef], None]) -> Iterator[None]:
    """In this block `apply` calls `note` with the name of each object before it applies it."""
    token = _note.set(note)
    try:
        yield
    finally:
        _note.reset(token)


def read_manifests(path: Path) -> list[dict[str, Any]]:
    """The objects of a YAML file, or of every *.yaml and *.yml of a folder by name; Lists are taken apart.

    Raises InputError naming every file or document that is unreadable or no Kubernetes object.
    """
    files = sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml")) if path.is_dir() else [path]
    found: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for file in files:
        try:
            documents = [d for d in yaml.safe_load_all(file.read_text()) if d is not None]
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
            problems.append(
                Problem(str(file), f"can't be read as YAML: {problem}", "correct the file or its path")
            )
            continue
        for number, document in enumerate(documents, start=1):
            wrong = _flaw(document)
            if wrong:
                problems.append(
                    Problem(f"{file}, document {number}", wrong, "give apiVersion, kind and metadata.name")
                )
            else:
                found += _taken_apart(document)
    if not files:
        problems.append(Problem(str(path), "holds no YAML file", "name a file or folder with manifests"))
    if problems:
        raise InputError(problems)
    return found


def apply(
    kube: Kube,
    documents: Iterable[Mapping[str, Any]],
    *,
    namespace: str | None = None,
    labels: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    clock: Clock | None = None,
) -> tuple[ObjectRef, ...]:
    """Apply objects in the order in which they need each other.

    Fields that another manager set are taken over.

    Args:
        kube: Client of the cluster.
        documents: The objects.
        namespace: For namespaced objects that name none.
        labels: Added to each object (not to pod templates).
        timeout: Seconds for each object's obstacles that pass (a webhook that is not up yet, a namespace
            that is still being deleted) and for CustomResourceDefinitions to be served.
        clock: Of the wait; the real one where not given.

    Returns:
        What they are called, in that order.

    Raises:
        KubeError: The API server refuses an object.
        WaitTimeout: Something stays in the way.
    """
    wanted = sorted((d for each in documents for d in _taken_apart(each)), key=_rank)
    refs: list[ObjectRef] = []
    crds: list[str] = []
    for document in wanted:
        if crds and document["kind"] != "CustomResourceDefinition":
            _await_established(kube, crds, timeout=timeout, clock=clock)
            crds = []
        refs.append(_apply_one(kube, document, namespace, labels or {}, timeout, clock))
        if document["kind"] == "CustomResourceDefinition":
            crds.append(document["metadata"]["name"])
    if crds:
        _await_established(kube, crds, timeout=timeout, clock=clock)
    log.debug("applied %d objects", len(refs))
    return tuple(refs)


def delete(
    kube: Kube,
    refs: Sequence[ObjectRef],
    *,
    wait_gone: bool = True,
    timeout: float = 120.0,
    clock: Clock | None = None,
) -> tuple[ObjectRef, ...]:
    """Delete objects, in the reverse of apply's order.

    What is gone already is no error.

    Args:
        kube: Client of the cluster.
        refs: The objects.
        wait_gone: Return when none of them exists any more (nor what they own).
        timeout: Seconds for all of them.
        clock: Of the wait; the real one where not given.

    Returns:
        Those that existed.

    Raises:
        WaitTimeout: It names what remains and which finalizers hold it.
    """
    asked = sorted(refs, key=lambda ref: _kind_rank(ref.api_version, ref.kind), reverse=True)
    existed = [
        ref
        for ref in asked
        if kube.delete(ref.api_version, ref.kind, ref.name, ref.namespace, foreground=wait_gone)
    ]
    if wait_gone and existed:
        wait(
            f"{len(existed)} objects to be gone",
            lambda: [(ref, left) for ref in existed if (left := present(kube, ref)) is not None],
            ready=lambda left: not left,
            describe=lambda left: (
                ", ".join(_why_present(ref, found) for ref, found in left[:5]) or "all gone"
            ),
            timeout=timeout,
            delay=0.3,
            remedy="look at what holds the first one: its finalizers, and the conditions in its status",
            clock=clock,
        )
    if any(ref.kind == "CustomResourceDefinition" for ref in existed):
        kube.forget_discovery()
    return tuple(existed)


def _apply_one(
    kube: Kube,
    document: Mapping[str, Any],
    namespace: str | None,
    labels: Mapping[str, str],
    timeout: float,
    clock: Clock | None,
) -> ObjectRef:
    body = _prepared(document, labels)
    meta = body["metadata"]
    if kube.resource(body["apiVersion"], body["kind"]).namespaced:
        meta["namespace"] = meta.get("namespace") or namespace or "default"
    else:
        meta.pop("namespace", None)
    ref = ObjectRef(body["apiVersion"], body["kind"], meta.get("namespace"), meta["name"])
    if (note := _note.get()) is not None:
        note(ref)

    def attempt() -> dict[str, Any]:
        stored = kube.server_side_apply(body, namespace=ref.namespace)
        if "deletionTimestamp" in stored["metadata"]:
            raise KubeError(f"{ref} is still being deleted", retryable=True)
        return stored

    wait(
        f"{ref} to be applied",
        attempt,
        ready=lambda stored: True,
        describe=lambda stored: "applied",
        timeout=timeout,
        delay=0.5,
        remedy="the last refusal says what stands in the way",
        clock=clock,
    )
    return ref


def _await_established(kube: Kube, names: Sequence[str], *, timeout: float, clock: Clock | None) -> None:
    """Wait until the API serves the kinds of these CustomResourceDefinitions."""

    def crds() -> list[dict[str, Any]]:
        found = kube.objects("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        return [crd for crd in found if crd["metadata"]["name"] in names]

    def pending(found: list[dict[str, Any]]) -> list[str]:
        served = {c["metadata"]["name"] for c in found if condition(c, "Established").get("status") == "True"}
        return [name for name in names if name not in served]

    def refused(found: list[dict[str, Any]]) -> MeshlabError | None:
        for crd in found:
            names_accepted = condition(crd, "NamesAccepted")
            if names_accepted.get("status") == "False":
                return KubeError(
                    f"the cluster refuses {crd['metadata']['name']}: {names_accepted.get('message', '')}",
                    remedy="remove the CustomResourceDefinition that has taken the name",
                )
        return None

    found = wait(
        f"{len(names)} CustomResourceDefinitions to be served",
        crds,
        ready=lambda found: not pending(found),
        error=refused,
        describe=lambda found: f"not yet: {', '.join(pending(found)[:5]) or 'none'}",
        timeout=timeout,
        delay=0.1,
        clock=clock,
    )
    kube.forget_discovery()
    for crd in found:  # established, yet discovery may follow a moment later
        spec = crd["spec"]
        version = next(v["name"] for v in spec["versions"] if v.get("served"))
        _await_kind(kube, f"{spec['group']}/{version}", spec["names"]["kind"], timeout, clock)


def _await_kind(kube: Kube, api_version: str, kind: str, timeout: float, clock: Clock | None) -> None:
    def known() -> bool:
        try:
            kube.resource(api_version, kind)
        except KubeError as problem:
            if problem.status != 404:
                raise
            return False
        return True

    wait(
        f"kind {kind} of {api_version} in discovery",
        known,
        ready=bool,
        timeout=timeout,
        delay=0.2,
        clock=clock,
    )


def _prepared(document: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """A copy of the object without what only the server sets, with our labels."""
    body = copy.deepcopy(dict(document))
    meta = body["metadata"]
    for field in SERVER_SET:
        meta.pop(field, None)
    body.pop("status", None)
    if labels:
        meta["labels"] = {**(meta.get("labels") or {}), **labels}
    return body


def _flaw(document: Any) -> str:
    if not isinstance(document, Mapping) or not document.get("apiVersion") or not document.get("kind"):
        return "is no Kubernetes object (apiVersion or kind is missing)"
    if str(document["kind"]).endswith("List") and isinstance(document.get("items"), list):
        return next((flaw for item in document["items"] if (flaw := _flaw(item))), "")
    meta = document.get("metadata")
    return "" if isinstance(meta, Mapping) and meta.get("name") else f"is a {document['kind']} without a name"


def _taken_apart(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    if str(document["kind"]).endswith("List") and isinstance(document.get("items"), list):
        return [dict(item) for item in document["items"]]
    return [dict(document)]


def _rank(document: Mapping[str, Any]) -> int:
    return _kind_rank(document["apiVersion"], document["kind"])


def _kind_rank(api_version: str, kind: str) -> int:
    if kind in LAST:
        return len(ORDER) + 1
    return next((rank for rank, kinds in enumerate(ORDER) if kind in kinds), len(ORDER))


def present(kube: Kube, ref: ObjectRef) -> dict[str, Any] | None:
    """The object, None where it or its kind is not there. Raises KubeError."""
    try:
        return kube.get(ref.api_version, ref.kind, ref.name, ref.namespace)
    except KubeError as problem:
        if problem.status == 404:  # its kind is gone too
            return None
        raise


def _why_present(ref: ObjectRef, found: Mapping[str, Any]) -> str:
    held = found["metadata"].get("finalizers") or found.get("spec", {}).get("finalizers") or []
    reasons = [
        str(each.get("message"))
        for each in found.get("status", {}).get("conditions") or []
        if ref.kind == "Namespace" and each.get("status") == "True"
    ]
    return f"{ref} ({', '.join([*held, *reasons]) or 'being deleted'})"
