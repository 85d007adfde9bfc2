"""Which control plane injects a namespace's pods: told by the webhooks, as the API server itself decides it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshlab.istio.names import DEFAULT_REVISION
from meshlab.kube.pods import PodSummary

API_VERSION, KIND = "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"
INJECTION_LABEL, REVISION_LABEL, TAG_LABEL = "istio-injection", "istio.io/rev", "istio.io/tag"
DATAPLANE_LABEL = "istio.io/dataplane-mode"  # of a namespace or a pod: ambient, or none
WEBHOOK_SUFFIX = "sidecar-injector.istio.io"  # how the name of each of Istio's injection webhooks ends
NAME_LABEL = "kubernetes.io/metadata.name"  # the API server puts it on every namespace


@dataclass(frozen=True)
class Webhook:
    """One injection webhook.

    revision: of the control plane that it calls. tag: whose webhook it is, empty for a revision's own.
    namespace: of the control plane, empty where it is called by URL. selectors: of namespaces and of objects.
    """

    revision: str
    tag: str
    namespace: str
    namespace_selector: Mapping[str, Any]
    object_selector: Mapping[str, Any]

    def takes(self, namespace_labels: Mapping[str, str], pod_labels: Mapping[str, str] = {}) -> bool:
        """Tell whether a pod is sent to it.

        Args:
            namespace_labels: Of the pod's namespace.
            pod_labels: The pod's own.

        Returns:
            True where it is.
        """
        return selects(self.namespace_selector, namespace_labels) and selects(
            self.object_selector, pod_labels
        )


def webhooks_in(configurations: Iterable[Mapping[str, Any]]) -> tuple[Webhook, ...]:
    """Pick Istio's injection webhooks out of the cluster's MutatingWebhookConfigurations."""
    found = []
    for each in configurations:
        labels = each["metadata"].get("labels") or {}
        for hook in each.get("webhooks") or []:
            if str(hook.get("name", "")).endswith(WEBHOOK_SUFFIX):
                service = (hook.get("clientConfig") or {}).get("service") or {}
                found.append(
                    Webhook(
                        revision=labels.get(REVISION_LABEL, DEFAULT_REVISION),
                        tag=labels.get(TAG_LABEL, ""),
                        namespace=service.get("namespace", ""),
                        namespace_selector=hook.get("namespaceSelector") or {},
                        object_selector=hook.get("objectSelector") or {},
                    )
                )
    return tuple(found)


def tags_of(webhooks: Iterable[Webhook], revision: str, namespace: str) -> tuple[str, ...]:
    """List the tags that point at a control plane.

    Args:
        webhooks: Istio's, of the whole cluster.
        revision: The control plane's.
        namespace: Where it runs.

    Returns:
        The tags, sorted.
    """
    return tuple(sorted({each.tag for each in webhooks if each.tag and _calls(each, revision, namespace)}))


def called_for(
    webhooks: Iterable[Webhook], labels: Mapping[str, str], name: str
) -> tuple[tuple[str, str], ...]:
    """Find the control planes that are called for an unlabelled pod of a namespace.

    Args:
        webhooks: Istio's, of the whole cluster.
        labels: The namespace's.
        name: The namespace's name.

    Returns:
        Revision and namespace of each, without repetition; empty where the namespace gets no sidecars.
    """
    every = {NAME_LABEL: name, **labels}
    return tuple(dict.fromkeys((each.revision, each.namespace) for each in webhooks if each.takes(every)))


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether a LabelSelector of Kubernetes holds for some labels.

    Args:
        selector: matchLabels and matchExpressions; an empty one selects everything.
        labels: The labels.

    Returns:
        True where it holds.
    """
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    if not wanted.items() <= labels.items():
        return False
    return all(_holds(each, labels) for each in selector.get("matchExpressions") or [])


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression.get("key", ""), expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def _calls(webhook: Webhook, revision: str, namespace: str) -> bool:
    return webhook.revision == revision and webhook.namespace in ("", namespace)


def made_by(pod: PodSummary) -> str:
    """Name the revision whose webhook gave a pod its proxy; "" where that is not told.

    The webhook writes it as an annotation; a label of the same name is the pod's own, and may name a tag. Gateways that
    istioctl installs have the label.
    """
    return pod.annotations.get(REVISION_LABEL) or pod.labels.get(REVISION_LABEL, "")


def asked_for(labels: Mapping[str, str]) -> str | None:
    """Name the revision or tag that a namespace's labels ask for; None where they ask for no sidecars."""
    injection = labels.get(INJECTION_LABEL)
    if injection is not None:
        return DEFAULT_REVISION if injection == "enabled" else None
    return labels.get(REVISION_LABEL)
