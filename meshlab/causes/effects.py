"""What an object does to the traffic of the mesh: whose, and in which way. What does nothing to it explains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from meshlab.causes.objects import Found

NAMES = ("app", "app.kubernetes.io/name", "k8s-app", "istio")  # labels that tell what a workload is called


class Does(StrEnum):
    """What an object does to traffic."""

    PLAINTEXT = "takes plaintext"
    NO_MTLS = "switches mutual TLS off"
    REFUSES = "refuses requests"
    REFUSES_OTHERS = "refuses requests of other paths"
    NO_ROUTE = "has no route for requests"
    ALLOWS = "allows requests"
    ABORTS = "answers in the service's place"
    GIVES_UP = "gives up on requests early"
    DELAYS = "delays requests"
    REROUTES = "sends requests elsewhere"
    LIMITS = "limits connections or ejects pods"
    HIDES = "hides services"
    OPENS = "opens the way out"
    AROUND = "leads past the egress gateway"
    DECLARES = "declares hosts outside"
    CUTS = "cuts connections"
    REPEATS = "repeats requests"
    RETRIES = "asks again where a request failed"
    CONFLICTS = "is for what another object is for, too"
    TRIAL = "is on trial only"
    TOKENS = "judges tokens"
    METRICS = "changes or drops metrics"
    NO_TRACES = "keeps requests from being traced"
    FILTERS = "changes the proxies' configuration"
    NO_SIDECAR = "keeps the sidecar away"
    NO_PODS = "leaves no pod"
    PROTOCOL = "is taken for another protocol"
    EDGE = "opens or guards the mesh's edge"
    EVERY_NAME = "takes every server name at the mesh's edge"


@dataclass(frozen=True)
class Effect:
    """What one object does.

    Attributes:
        source: The object.
        does: In which way.
        whose: Names of the workloads or services concerned; empty means all of its namespace, or of the mesh.
        why: What in the object does it, in a sentence.
    """

    source: Found
    does: Does
    whose: frozenset[str]
    why: str


@dataclass(frozen=True)
class World:
    """What effects are judged by. objects: all that was read; root: the mesh's root namespace."""

    objects: Sequence[Found]
    root: str

    def pods(self, namespace: str, selector: Mapping[str, str]) -> list[Found]:
        """Return the pods that a selector finds; in the root namespace those of the whole mesh.

        Args:
            namespace: Of the object that selects.
            selector: Labels; empty selects all.

        Returns:
            The pods.
        """
        return [
            each
            for each in self.objects
            if each.kind == "Pod"
            and namespace in (each.namespace, self.root)
            and selector.items() <= each.labels.items()
        ]

    def selected(self, found: Found, selector: Mapping[str, str]) -> frozenset[str]:
        """Return the names of the workloads that an object selects; empty where it selects all.

        Args:
            found: The object.
            selector: Its labels.

        Returns:
            The names.
        """
        if not selector:
            return frozenset()
        return frozenset(name_of(pod.labels) for pod in self.pods(found.namespace, selector)) or frozenset(
            selector.values()
        )


Told = Iterator[
    tuple[Does, frozenset[str], str]
]  # what one object does: in which way, to whose traffic, and why


def name_of(labels: Mapping[str, str]) -> str:
    """Return what a workload is called by its labels, "" where none tells."""
    return next((labels[key] for key in NAMES if key in labels), "")


def service_of(host: str) -> str:
    """Return the Service's name in a host, short or whole."""
    return host.partition(".")[0]


def targets_of(found: Found) -> frozenset[str]:
    """Return the names of the Gateways and Services that a policy names as its targets."""
    refs = found.spec.get("targetRefs") or [found.spec.get("targetRef")]
    return frozenset(str(ref["name"]) for ref in refs if ref and ref.get("name"))


def labels_of(found: Found) -> Mapping[str, str]:
    """Return the labels by which an object of Istio selects workloads."""
    selector = found.spec.get("selector") or found.spec.get("workloadSelector") or {}
    return selector.get("matchLabels") or selector.get("labels") or {}


def shortly(value: Any) -> str:
    """Write a part of an object in one short line."""
    return str(value).translate(str.maketrans("", "", "{}[]'"))[:120]
