"""Whether a cluster of somebody else admits what the run makes: asked by server-side dry runs, before anything is touched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from meshlab.app.bookinfo import SLEEPER
from meshlab.app.pod_security import LABEL, enforces_restricted
from meshlab.app.pods import SAMPLE, sample_pod
from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError, Problem
from meshlab.istio.mesh import Mesh
from meshlab.kube.api_errors import FORBIDDEN as NOT_PERMITTED
from meshlab.kube.changes import MANAGED_BY, MANAGER, RUN_LABEL
from meshlab.kube.client import Kube

Object = dict[str, Any]
FORBIDDEN = (401, 403)
REFUSED = (400, 403, 409, 422)  # statuses with which admission says no
OTHERWISE = ("already exists", "does not support dry run")  # said with the same statuses, and is no refusal
ASKED = {"Pod": ("", "pods"), "Deployment": ("apps", "deployments"), "Namespace": ("", "namespaces")}
CALLED = {"Pod": "the run's first pod", "Deployment": "the run's first Deployment"}
STAND_INS = 3  # at most; one that has a rule of its own is outvoted
ANSWERS = 2  # at least; what one namespace alone refuses may be a rule of its own
SYSTEM = "kube-"  # Kubernetes' own namespaces, which policies leave out
OPEN = (None, "privileged")  # a namespace's PodSecurity label that refuses nothing
RAISE = "raise it, or name another namespace: app.namespace"
SETTINGS = "set what it demands: app.labels, app.image_prefix, app.pull_secrets, app.scheduling"
OF_QUOTAS = ("exceeded quota", "failed quota", "usage per")
# Kubernetes' plugins PodNodeSelector and PodTolerationRestriction: "conflict with its namespace whitelist".
OF_ITS_NAMESPACE = "its namespace"
# What a refusal says → what to do about it; the first that is found counts.
REMEDIES = (
    (
        ("istio-init", "istio-validation", "NET_ADMIN"),
        "the sidecar's init container needs NET_ADMIN: install Istio CNI, or name a namespace whose label "
        "pod-security.kubernetes.io/enforce is privileged: app.namespace",
    ),
    (
        ("PodSecurity",),
        "name a namespace whose label pod-security.kubernetes.io/enforce is less: app.namespace",
    ),
    (OF_QUOTAS, RAISE),
    (("",), SETTINGS),
)


def refusals(kube: Kube, config: LabConfig, mesh: Mesh) -> list[Problem]:
    """Ask whether the run's objects are admitted: a pod and a Deployment as its own are, and the namespace.

    Where the namespace is not there yet, or is going, the two are tried in others that have no rules of their own, and
    what most of those refuse is refused; one of them alone decides nothing. What this account may not make is not asked
    about.

    Args:
        kube: Client of the cluster.
        config: The settings of the run.
        mesh: Its facts.

    Returns:
        One problem for each kind that is refused.

    Raises:
        KubeError: The API server refuses a read.
    """
    namespace = config.namespace
    there = kube.get("v1", "Namespace", namespace)
    if there is None or _goes(there):
        return [*_of_namespace(kube, config), *_elsewhere(kube, config, mesh)]
    samples = _samples(config, mesh, namespace, restricted=enforces_restricted(kube, namespace))
    told = ((each["kind"], _refusal(kube, each)) for each in samples)
    return [
        Problem(f"namespace {namespace}", f"refuses {CALLED[kind]}: {why}", _remedy(why))
        for kind, why in told
        if why
    ]


def listed(kube: Kube, kind: str, namespace: str | None = None) -> list[Object]:
    """List objects of the core group.

    Args:
        kube: Client of the cluster.
        kind: Theirs.
        namespace: Theirs; None for all.

    Returns:
        The objects; none where this account may not read them.

    Raises:
        KubeError: The API server does not answer.
    """
    try:
        return kube.objects("v1", kind, namespace)
    except KubeError as problem:
        if problem.status not in FORBIDDEN:
            raise
        return []


def _of_namespace(kube: Kube, config: LabConfig) -> Iterator[Problem]:
    name = config.namespace
    labels = {**config.app.labels, MANAGED_BY: MANAGER, RUN_LABEL: SAMPLE}  # as the run's Lease makes it
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    if why := _refusal(kube, made):
        remedy = f"{_remedy(why)}; or make it beforehand, as the cluster demands"
        yield Problem(f"namespace {name}", f"is not there, and the run may not make it: {why}", remedy)


def _elsewhere(kube: Kube, config: LabConfig, mesh: Mesh) -> Iterator[Problem]:
    answers: dict[str, list[tuple[str, str]]] = {}
    for name in _stand_ins(kube, mesh):
        for each in _samples(config, mesh, name, restricted=False):
            why = _refusal(kube, each)
            if why is not None and not _own(why, name):
                answers.setdefault(each["kind"], []).append((name, why))
    for kind, told in answers.items():
        refused = [(name, why) for name, why in told if why]
        if len(told) < ANSWERS or 2 * len(refused) <= len(told):
            continue
        where, why = ", ".join(name for name, _ in refused), refused[0][1]
        beforehand = (
            f"if only {where} refuses it, make {config.namespace} beforehand: then it is asked itself"
        )
        what = f"will refuse {CALLED[kind]}, as {where} does: {why}"
        yield Problem(f"namespace {config.namespace}", what, f"{_remedy(why)}; {beforehand}")


def _own(why: str, namespace: str) -> bool:
    """Whether a refusal is about a namespace, as of a policy that keeps everybody out of `default`; not `default/NAME`."""
    named = re.search(rf"(?<![/\w]){re.escape(namespace)}(?![/\w])", why)
    return named is not None or any(word in why for word in (*OF_QUOTAS, OF_ITS_NAMESPACE))


def _stand_ins(kube: Kube, mesh: Mesh) -> list[str]:
    """Namespaces in which nothing but the cluster's own rules should refuse a pod, as far as it can be read."""
    bounded = {
        each["metadata"]["namespace"]
        for kind in ("ResourceQuota", "LimitRange")
        for each in listed(kube, kind)
    }
    names = sorted(
        each["metadata"]["name"]
        for each in listed(kube, "Namespace")
        if not _goes(each) and (each["metadata"].get("labels") or {}).get(LABEL) in OPEN
    )
    free = [
        name
        for name in names
        if not name.startswith(SYSTEM) and name not in bounded and name not in mesh.istio_namespaces
    ]
    return sorted(free, key=lambda name: name != "default")[:STAND_INS]


def _goes(namespace: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in namespace["metadata"]


def _samples(config: LabConfig, mesh: Mesh, namespace: str, *, restricted: bool) -> tuple[Object, Object]:
    """A pod and a Deployment as the run's own are."""
    ask = mesh.mode != "sidecar"  # the namespace does not ask for sidecars yet
    asking = (("sidecar.istio.io/inject", "true"), ("istio.io/rev", mesh.revision)) if ask else ()
    pod = sample_pod(config, asking, restricted=restricted)
    pod["metadata"]["namespace"] = namespace
    labels, wanted = pod["metadata"]["labels"], {"app": SLEEPER.app}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": SAMPLE, "namespace": namespace, "labels": dict(config.app.labels)},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": wanted},
            "template": {"metadata": {"labels": labels}, "spec": pod["spec"]},
        },
    }
    return pod, deployment


def _refusal(kube: Kube, document: Object) -> str | None:
    """What admission says against an object; "" where it takes it, None where it was not asked or did not say."""
    kind, namespace = document["kind"], document["metadata"].get("namespace")
    if not kube.may("create", *ASKED[kind], namespace):
        return None
    try:
        kube.create(document, namespace=namespace, dry_run=True)
    except KubeError as problem:
        why = problem.message
        said = problem.status in REFUSED and not any(word in why for word in OTHERWISE)
        return why if said and not NOT_PERMITTED.search(why) else None
    return ""


def _remedy(why: str) -> str:
    return next(told for words, told in REMEDIES if any(word in why for word in words))
