"""Which 403 of a plaintext caller is a mesh's own wish: one of a DENY policy of somebody else, and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshlab.app import bookinfo
from meshlab.app.source import Source
from meshlab.core.errors import KubeError
from meshlab.istio.mesh import Mesh
from meshlab.kube.pods import PodSummary
from meshlab.security.mtls import stage
from meshlab.security.mtls.denied import all_forbidden, denying
from meshlab.security.mtls.outside import Round
from tests.fakes.kube import FakeKube, make_pod
from tests.unit.security.mtls import fixtures as made

FACTS = Mesh("default", root_namespace="mesh-config")
SECURITY = "security.istio.io/v1"
NO_IDENTITY = {"rules": [{"from": [{"source": {"notPrincipals": ["*"]}}]}]}
DENY = {"action": "DENY", **NO_IDENTITY}
CALLER = Source("default", "caller-1", "curl", "uid")
REFUSED = made.plain("403", 0, heard=0, handed=0)


def cluster(
    spec: dict[str, Any] | None = None, *, mode: str = "PERMISSIVE", labels: dict[str, str] | None = None
) -> FakeKube:
    kube = FakeKube([make_pod("caller-1", podIP="10.0.0.8")])
    for kind in ("AuthorizationPolicy", "RequestAuthentication", "PeerAuthentication"):
        kube.kinds[SECURITY, kind] = True
    kube.kinds["networking.istio.io/v1", "DestinationRule"] = True
    meta = {"name": "who-are-you", "namespace": "mesh-config", "labels": labels or {}}
    if spec is not None:
        kube.put({"apiVersion": SECURITY, "kind": "AuthorizationPolicy", "metadata": meta, "spec": spec})
    peer = {"name": "default", "namespace": "mesh-config"}
    kube.put(
        {
            "apiVersion": SECURITY,
            "kind": "PeerAuthentication",
            "metadata": peer,
            "spec": {"mtls": {"mode": mode}},
        }
    )
    return kube


def details() -> PodSummary:
    return replace(made.pod(bookinfo.DETAILS), labels={"app": "details", "version": "v1"})


def named(kube: FakeKube) -> dict[str, str]:
    asked = {"details": ("http://details.default.svc:9080/details/0", [details()])}
    return denying(kube, FACTS, "10.0.0.8", asked)  # type: ignore[arg-type]


def explained(kube: FakeKube, found: Round = REFUSED) -> Round:
    return stage._explained(kube, CALLER, made.edges(), FACTS, found)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spec",
    [
        DENY,
        {"action": "DENY", "rules": [{"from": [{"source": {"ipBlocks": ["10.0.0.8"]}}]}]},
        {"selector": {"matchLabels": {"app": "details"}}, **DENY},
    ],
)
def test_a_deny_policy_that_matches_the_caller_is_named(spec: dict[str, Any]) -> None:
    assert named(cluster(spec)) == {"details": "mesh-config/who-are-you"}


@pytest.mark.parametrize(
    ("spec", "more"),
    [
        (None, {}),
        ({}, {}),  # nothing is allowed: the run allows its own calls, so that is a fault of its room
        ({"action": "ALLOW", **NO_IDENTITY}, {}),
        ({"action": "DENY", "rules": [{"to": [{"operation": {"methods": ["POST"]}}]}]}, {}),
        ({"selector": {"matchLabels": {"app": "ratings"}}, **DENY}, {}),
        ({"action": "DENY", "rules": [{"when": [{"key": "request.headers[user-agent]", "values": ["x"]}]}]}, {}),
        (DENY, {"mode": "STRICT"}),  # it would have been reset
        (DENY, {"labels": {"app.kubernetes.io/managed-by": "meshlab"}}),  # a fault that a run planted
    ],
)  # fmt: skip
def test_nothing_else_is(spec: dict[str, Any] | None, more: dict[str, Any]) -> None:
    assert named(cluster(spec, **more)) == {}


def test_a_round_tells_over_which_paths_it_was_denied() -> None:
    assert explained(cluster(DENY)).denied == {
        path.name: "mesh-config/who-are-you" for path, _ in REFUSED.paths
    }


@pytest.mark.parametrize(
    "found",
    [
        made.plain("200", 0, heard=3, handed=6),
        made.plain("000", 56, heard=0, handed=0),
        made.plain("403", 0, heard=1, handed=0),  # the application itself has answered
        made.plain("403", 0, heard=0, handed=2),
    ],
)
def test_any_other_answer_is_not_explained_by_a_policy(found: Round) -> None:
    assert explained(cluster(DENY), found) == found


def test_policies_that_may_not_be_read_explain_nothing() -> None:
    class Closed(FakeKube):
        def objects(self, *what: Any, **more: Any) -> list[dict[str, Any]]:
            raise KubeError("forbidden", status=403)

    kube = Closed()
    kube.kinds[SECURITY, "AuthorizationPolicy"] = True
    assert explained(kube) == REFUSED


def test_each_request_must_have_been_answered_so() -> None:
    assert all_forbidden(made.asked("403", 0, 3))
    assert not all_forbidden(made.asked("200", 0, 3)) and not all_forbidden(made.asked("000", 56, 3))
    assert not all_forbidden(replace(made.asked("403", 0, 3), by_status={"403": 2, "200": 1}))
