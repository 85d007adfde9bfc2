"""What is wrong at the mesh's edge: changes to the objects that its stages are about to apply."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from meshlab.security.gateways import egress
from meshlab.security.gateways.ingress import SECURE, Document

STRANGER = "https://somebody.else.test"


def hosts_widened(documents: list[Document]) -> list[Document]:
    """The server of one host serves every host."""

    def widen(spec: dict[str, Any]) -> None:
        for server in spec["servers"]:
            if server["hosts"] == [SECURE]:
                server["hosts"] = ["*"]

    return _changed(documents, "Gateway", widen)


def listener_widened(documents: list[Document]) -> list[Document]:
    """The listener of one host, by Gateway API, takes every name."""

    def widen(spec: dict[str, Any]) -> None:
        for listener in spec["listeners"]:
            if listener.get("hostname") == SECURE:
                del listener["hostname"]

    return _changed(documents, "Gateway", widen)


def issuer_changed(documents: list[Document]) -> list[Document]:
    """Tokens of another issuer are expected."""

    def change(spec: dict[str, Any]) -> None:
        spec["jwtRules"][0]["issuer"] = STRANGER

    return _changed(documents, "RequestAuthentication", change)


def on_trial(documents: list[Document]) -> list[Document]:
    """The policy that refuses requests without a token enforces nothing."""
    found = copy.deepcopy(documents)
    for each in found:
        if each["kind"] == "AuthorizationPolicy":
            each["metadata"].setdefault("annotations", {})["istio.io/dry-run"] = "true"
    return found


def opened(documents: list[Document]) -> list[Document]:
    """Hosts that nobody declared are let through."""

    def open_(spec: dict[str, Any]) -> None:
        spec["outboundTrafficPolicy"]["mode"] = "ALLOW_ANY"

    return _changed(documents, "Sidecar", open_)


def direct(documents: list[Document]) -> list[Document]:
    """The declared host is called directly: its route does not lead through the egress gateway."""

    def lead(spec: dict[str, Any]) -> None:
        [beyond] = [route for route in spec["http"] if egress.NAME in route["match"][0]["gateways"]]
        [first] = [route for route in spec["http"] if route is not beyond]
        first["route"] = copy.deepcopy(beyond["route"])

    return _changed(documents, "VirtualService", lead)


def _changed(
    documents: list[Document], kind: str, change: Callable[[dict[str, Any]], None]
) -> list[Document]:
    """The objects, with every one of a kind changed. ValueError without one: the fault would be none."""
    found = copy.deepcopy(documents)
    chosen = [each for each in found if each["kind"] == kind]
    if not chosen:
        raise ValueError(f"there is no {kind} to be changed")
    for each in chosen:
        change(each["spec"])
    if found == documents:
        raise ValueError(f"no {kind} was changed")
    return found
