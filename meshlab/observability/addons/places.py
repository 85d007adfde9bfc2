"""Where Prometheus, tracing, Grafana and Kiali are asked: as a setting says, else found by the signs of their Services."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from meshlab.config.settings import PLACE
from meshlab.core.address import host_port
from meshlab.core.errors import KubeError
from meshlab.kube.client import Kube

Object = Mapping[str, Any]
ROUTE_PREFIX, EXTERNAL_URL = "--web.route-prefix=", "--web.external-url="  # flags of Prometheus
COMPONENT_LABEL = "app.kubernetes.io/component"
ZIPKIN_PORT = 9411
ADDON = "Istio's addon"  # how one is known that stands where Istio puts it


@dataclass(frozen=True)
class Place:
    """Where one of them is asked, and how that is known.

    Attributes:
        how: The setting, or the sign by which it was found.
        url: Asked over the network; "" where it is asked through a port-forward to a Service.
        namespace, service, port: The Service.
        path: In front of every path of its API.
        scheme: Of the Service: http or https.
        api: Whose API it has, where that differs: jaeger or zipkin.
        others: Services with signs of the same thing, which are not asked.
        found: Neither set nor Istio's addon: its signs are all that is known.
    """

    how: str
    url: str = ""
    namespace: str = ""
    service: str = ""
    port: int = 0
    path: str = ""
    scheme: str = "http"
    api: str = ""
    others: tuple[str, ...] = ()
    found: bool = False

    @property
    def where(self) -> str:
        """The place in one word, for the evidence."""
        return self.url or f"{self.namespace}/{host_port(self.service, self.port)}{self.path}"

    def row(self) -> dict[str, object]:
        """The place as evidence."""
        return {
            "where": self.where,
            "how": self.how,
            **({"others": list(self.others)} if self.others else {}),
        }


@dataclass(frozen=True)
class Signs:
    """By what a Service is known.

    Attributes:
        labels: (label, value), the surest first.
        names: Of Services, as patterns; they come after the labels.
        ports: Names and numbers of its port, the best first.
        parts: Values of app.kubernetes.io/component that may stand beside the labels; none is fine, too.
        api: As for `Place`.
    """

    labels: tuple[tuple[str, str], ...]
    names: tuple[str, ...]
    ports: tuple[str | int, ...]
    parts: tuple[str, ...] = ()
    api: str = ""


def from_settings(section: str, url: str | None, service: str | None, api: str = "") -> Place | None:
    """Read the place that somebody has set.

    Args:
        section: Of the settings: prometheus, tracing, grafana or kiali.
        url: `SECTION.url`.
        service: `SECTION.service`: `namespace/name:port`, a path may follow.
        api: `SECTION.api`; "" where it is to be told by the port.

    Returns:
        The place; None where neither is set.
    """
    if url:
        told = api or ("zipkin" if urlsplit(url).port == ZIPKIN_PORT else "")
        return Place(f"{section}.url", url=url.rstrip("/"), api=told)
    if not service:
        return None
    found = re.fullmatch(PLACE, service)
    assert found is not None, "the settings are judged"
    path = (found["path"] or "").rstrip("/")
    return Place(
        f"{section}.service",
        namespace=found["namespace"],
        service=found["name"],
        port=int(found["port"]),
        path=path,
        api=api or ("zipkin" if int(found["port"]) == ZIPKIN_PORT else ""),
    )


def discover(kube: Kube, signs: Sequence[Signs], *, near: Sequence[str] = ()) -> Place | None:
    """Look for a Service with the signs, in every namespace that we may read.

    Args:
        kube: Client of the cluster.
        signs: By what it is known; the first that any Service shows wins.
        near: Namespaces to look into where not all may be read; they come first, too, among equals.

    Returns:
        The best place: one with a Ready pod, if there is one. None where no Service shows a sign.

    Raises:
        KubeError: The API server does not answer.
    """
    services = list(_services(kube, near))
    found: list[tuple[str, Object, int, str]] = []
    for each in signs:
        for how, service in _matching(each, services, near):
            port = _port(each, service)
            if port and all(service is not known for _, known, _, _ in found):
                found.append((how, service, port, each.api))
    if not found:
        return None
    how, service, port, api = next((each for each in found if _has_pods(kube, each[1])), found[0])
    names = [f"{each[1]['metadata']['namespace']}/{each[1]['metadata']['name']}" for each in found]
    meta = service["metadata"]
    others = tuple(name for name in names if name != f"{meta['namespace']}/{meta['name']}")
    place = Place(how, namespace=meta["namespace"], service=meta["name"], port=port, api=api, others=others)
    return settled(kube, replace(place, found=True))


def settled(kube: Kube, place: Place) -> Place:
    """Add what the Service and its pods tell of a place: TLS, and the path in front of Prometheus's API.

    Args:
        kube: Client of the cluster.
        place: A Service; a place with a URL is returned as it is.

    Returns:
        The place. What can't be read changes nothing.
    """
    if place.url:
        return place
    try:
        service = kube.get("v1", "Service", place.service, place.namespace)
    except KubeError:
        return place
    if service is None:
        return place
    ports = (service.get("spec") or {}).get("ports") or []
    port: Object = next((each for each in ports if each.get("port") == place.port), {})
    said = f"{port.get('name', '')} {port.get('appProtocol', '')}"
    secure = place.port == 443 or re.search(r"\bhttps\b", said) is not None
    path = place.path or _prefix(kube, service)
    return replace(place, path=path, scheme="https" if secure else "http")


def stands(kube: Kube, deployment: str, place: Place) -> bool:
    """Tell whether something is where Istio puts an addon: its Deployment, and its Service with the addon's port.

    A Deployment of that name alone may be anybody's, with a Service of another name or port before it.

    Args:
        kube: Client of the cluster.
        deployment: The addon's, in the place's namespace.
        place: The addon's.

    Returns:
        True where both are there.

    Raises:
        KubeError: The API server does not answer.
    """
    if kube.get("apps/v1", "Deployment", deployment, place.namespace) is None:
        return False
    service = kube.get("v1", "Service", place.service, place.namespace)
    ports = ((service or {}).get("spec") or {}).get("ports") or []
    return any(each.get("port") == place.port for each in ports)


def is_bare(kube: Kube, place: Place, selector: Mapping[str, str]) -> bool:
    """Tell whether a Service selects certain pods, and none at all is there, Ready or not.

    One without a selector, or with another, may have its answers from elsewhere, or its pods back tomorrow.

    Args:
        kube: Client of the cluster.
        place: The Service.
        selector: Of those pods.

    Returns:
        True where that can be seen.
    """
    try:
        service = kube.get("v1", "Service", place.service, place.namespace)
        selected = ((service or {}).get("spec") or {}).get("selector")
        return service is not None and selected == selector and not kube.pods(*_behind(service))
    except KubeError:
        return False


def judge_guess(place: Place, title: str, *, remedy: str) -> None:
    """Refuse to send credentials to one of several: anybody could have put a Service there for that.

    Args:
        place: Where they would be sent.
        title: What is asked, in a sentence.
        remedy: How it is set where it is asked.

    Raises:
        KubeError: Its signs are all that is known of it, and a Service of another namespace shows some, too.
    """
    elsewhere = [each for each in place.others if not each.startswith(f"{place.namespace}/")]
    if place.found and elsewhere:
        told = ", ".join((place.where, *elsewhere))
        raise KubeError(
            f"several Services may be {title}, and credentials are not sent to a guess: {told}",
            remedy=remedy,
            retryable=False,
        )


def _services(kube: Kube, near: Sequence[str]) -> Iterator[Object]:
    """Every Service that we may read: of the cluster, else of each namespace that may be read."""
    try:
        yield from kube.objects("v1", "Service")
        return
    except KubeError as problem:
        if problem.status != 403:
            raise
    try:
        namespaces = [each["metadata"]["name"] for each in kube.objects("v1", "Namespace")]
    except KubeError as problem:
        if problem.status != 403:
            raise
        namespaces = []
    for namespace in dict.fromkeys((*near, *namespaces)):
        try:
            yield from kube.objects("v1", "Service", namespace)
        except KubeError as problem:
            if problem.status not in (403, 404):
                raise


def _matching(signs: Signs, services: Sequence[Object], near: Sequence[str]) -> Iterator[tuple[str, Object]]:
    """Services with each sign in turn, those near us first."""
    ordered = sorted(services, key=lambda each: _nearness(each, near))
    for label, value in signs.labels:
        for each in ordered:
            labels = each["metadata"].get("labels") or {}
            component = labels.get(COMPONENT_LABEL, "")
            if labels.get(label) == value and (not component or component in signs.parts):
                yield f"label {label}={value}", each
    for pattern in signs.names:
        for each in ordered:
            if re.fullmatch(pattern, each["metadata"]["name"]):
                yield f"name {each['metadata']['name']}", each


def _nearness(service: Object, near: Sequence[str]) -> tuple[int, str, str]:
    namespace = service["metadata"]["namespace"]
    place = list(near).index(namespace) if namespace in near else len(near)
    return place, namespace, service["metadata"]["name"]


def _port(signs: Signs, service: Object) -> int:
    """The Service's port, 0 where it has none of the known ones."""
    ports = (service.get("spec") or {}).get("ports") or []
    for wanted in signs.ports:
        for each in ports:
            if wanted in (each.get("name"), each.get("port")):
                return int(each["port"])
    return 0


def _has_pods(kube: Kube, service: Object) -> bool:
    try:
        return any(pod.is_ready for pod in kube.pods(*_behind(service)))
    except KubeError:
        return False


def _prefix(kube: Kube, service: Object) -> str:
    """The path under which Prometheus serves its API, as the flags of its pod say."""
    try:
        pods = kube.objects("v1", "Pod", _behind(service)[0], selector=_behind(service)[1])
    except KubeError:
        return ""
    words = [
        str(word)
        for pod in pods
        for container in (pod.get("spec") or {}).get("containers") or []
        for word in (container.get("args") or [])
    ]
    for flag in (ROUTE_PREFIX, EXTERNAL_URL):  # the second is the first's default
        for word in words:
            if word.startswith(flag):
                return urlsplit(word.removeprefix(flag)).path.rstrip("/")
    return ""


def _behind(service: Object) -> tuple[str, str]:
    """Namespace and label selector of the pods behind a Service; a selector that selects nothing where it has none."""
    selector = (service.get("spec") or {}).get("selector") or {"meshlab/no-selector": "true"}
    return service["metadata"]["namespace"], ",".join(f"{key}={value}" for key, value in selector.items())
