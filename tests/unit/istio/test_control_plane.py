"""Which Istio is there, and how a namespace asks it for sidecars."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshlab.core.errors import IstioError
from meshlab.istio.control_plane import (
    ControlPlane,
    control_planes,
    deployments,
    injection_label,
    label_namespace,
    to_name,
    unlabel_namespace,
)
from tests.fakes import istio_objects as objects
from tests.fakes.mesh import FakeMesh, make_object


def istiod(name: str = "istiod", **labels: str) -> dict:
    made = make_object("apps/v1", "Deployment", name, "istio-system", app="istiod", **labels)
    return {**made, "spec": {}, "status": {"readyReplicas": 1}}


def plane(revision: str) -> ControlPlane:
    return ControlPlane(f"istiod-{revision}", "istio-system", revision, True)


def test_an_empty_cluster_has_none():
    assert control_planes(FakeMesh()) == ()


def test_the_revision_is_read_from_its_label():
    made = istiod("istiod-canary")
    made["metadata"]["labels"]["istio.io/rev"] = "canary"
    made["status"] = {}
    assert control_planes(FakeMesh([istiod(), made])) == (
        ControlPlane("istiod", "istio-system", "default", True),
        ControlPlane("istiod-canary", "istio-system", "canary", False),
    )


def test_only_istios_own_deployments_are_named():
    gateway = make_object(
        "apps/v1", "Deployment", "istio-ingressgateway", "istio-system", istio="ingressgateway"
    )
    other = make_object("apps/v1", "Deployment", "prometheus", "istio-system", app="prometheus")
    assert deployments(FakeMesh([istiod(), gateway, other])) == {
        "istio-system": ("istio-ingressgateway", "istiod")
    }
    assert deployments(FakeMesh([gateway, other])) == {}


def test_the_label_follows_the_revision():
    assert injection_label([plane("default"), plane("canary")]) == ("istio-injection", "enabled")
    assert injection_label([plane("canary")]) == ("istio.io/rev", "canary")
    with pytest.raises(IstioError, match="several revisions"):
        injection_label([plane("a"), plane("b")])
    with pytest.raises(IstioError, match="no istiod"):
        injection_label([])


def test_case_4_a_tag_makes_one_of_several_revisions_the_default():
    found = control_planes(
        FakeMesh([objects.istiod("a"), objects.istiod("b"), objects.webhooks("b", tag="default")])
    )
    assert injection_label(found) == ("istio-injection", "enabled")


def test_a_label_that_asks_a_control_plane_stays():
    labels = {"istio.io/rev": "prod", "team": "a"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}
    kube = FakeMesh([objects.istiod("a"), objects.istiod("b"), objects.webhooks("a", tag="prod"), space])
    assert label_namespace(kube, "shop") == "istio.io/rev=prod"
    assert kube.calls == [], "nothing of a namespace of somebody's is written that is right"


def test_a_label_that_asks_nobody_is_not_believed():
    labels = {"istio.io/rev": "gone"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}
    kube = FakeMesh([objects.istiod("a"), space])
    assert label_namespace(kube, "shop") == "istio.io/rev=a"
    assert [call[:2] for call in kube.calls] == [("patch", "Namespace")]


def test_labelling_makes_the_namespace_and_may_run_twice():
    kube = FakeMesh([istiod()])
    for _ in range(2):
        assert label_namespace(kube, "shop") == "istio-injection=enabled"
    assert kube.get("v1", "Namespace", "shop")["metadata"]["labels"] == {"istio-injection": "enabled"}


def test_a_namespace_of_the_runs_own_gets_the_labels_that_the_cluster_demands():
    demanded = {"team": "mesh", "istio-injection": "disabled"}
    wanted = {"team": "mesh", "istio-injection": "enabled"}
    made = make_object("v1", "Namespace", "meshlab", **{"meshlab/run": "r"})
    kube = FakeMesh([istiod(), made])
    for name in ("shop", "meshlab", "meshlab"):
        assert label_namespace(kube, name, own=demanded) == "istio-injection=enabled"
    assert kube.get("v1", "Namespace", "shop")["metadata"]["labels"] == wanted
    assert kube.get("v1", "Namespace", "meshlab")["metadata"]["labels"] == {"meshlab/run": "r", **wanted}
    assert [call[0] for call in kube.calls] == ["apply", "patch"], "nothing is written twice"


def test_unlabelling_keeps_other_labels_and_forgives_a_missing_namespace():
    kube = FakeMesh([make_object("v1", "Namespace", "shop", istio_injection="enabled", team="a")])
    unlabel_namespace(kube, "shop")
    unlabel_namespace(kube, "gone")
    assert kube.get("v1", "Namespace", "shop")["metadata"]["labels"] == {"team": "a"}


@pytest.mark.parametrize(
    ("planes", "named"),
    [
        ([ControlPlane("istiod", "istio-system", "default", True)], []),
        ([plane("stable"), plane("canary")], ["stable", "canary"]),
        ([plane("stable"), replace(plane("canary"), ready=False)], ["stable"]),
        ([replace(plane("stable"), ready=False)], ["stable"]),
        ([ControlPlane("istiod", "mesh-control", "default", True)], ["default"]),
        ([], []),
    ],
)
def test_istioctl_is_told_what_it_does_not_find_by_itself(planes: list[ControlPlane], named: list[str]):
    assert [revision for revision, _ in to_name(planes)] == named
