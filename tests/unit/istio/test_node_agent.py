"""The IstioOperator of a local cluster with Istio's CNI: the user's own settings of it stay."""

from __future__ import annotations

from typing import Any

from meshlab.istio import node_agent
from meshlab.istio.operator_file import at


def test_the_agent_of_each_node_is_shown_that_nodes_folder() -> None:
    document: dict[str, Any] = {"spec": {"components": {"pilot": {"enabled": True}}}}
    node_agent.ask_for(document, "abc")
    node_agent.ask_for(document, "abc")  # a run that goes on
    assert at(document, "spec.components.cni.enabled") is True
    assert at(document, "spec.components.pilot.enabled") is True
    values = at(document, "spec.values.cni")
    assert (values["tag"], values["cniBinDir"], values["cniConfDir"]) == (
        "abc",
        "/var/lib/meshlab-cni/bin",
        "/var/lib/meshlab-cni/net.d",
    )
    [overlay] = at(document, "spec.components.cni.k8s.overlays")
    assert overlay["kind"] == "DaemonSet" and overlay["patches"][0]["value"] == "$(NODE_NAME)"


def test_the_users_own_requests_and_settings_stay() -> None:
    mine = {"resources": {"requests": {"cpu": "1"}}, "excludeNamespaces": ["a"]}
    document: dict[str, Any] = {"spec": {"values": {"cni": dict(mine)}}}
    node_agent.ask_for(document, "abc")
    assert mine.items() <= at(document, "spec.values.cni").items()
