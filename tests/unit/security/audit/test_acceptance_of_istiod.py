"""What is accepted of Istio's control planes is theirs whatever they are called."""

from __future__ import annotations

from datetime import date

from meshlab.config.settings import LabConfig
from meshlab.istio.control_plane import ControlPlane
from meshlab.istio.mesh import Mesh
from meshlab.security.audit.acceptance import judge, lab_made
from meshlab.security.audit.model import Finding, Severity

TODAY = date(2026, 11, 23)
PLANES = (
    ControlPlane("istiod-stable", "istio-system", "stable", True),
    ControlPlane("istiod-next", "mesh", "next", True),
)


def counts(rule: str, resource: str, mesh: Mesh) -> bool:
    found = Finding(rule, Severity.WARNING, resource, "", "")
    return judge([found], lab_made(LabConfig(), mesh), TODAY)[0].counts


def test_case_l2_it_is_matched_by_the_control_plane_not_by_its_name() -> None:
    mesh = Mesh("default", PLANES, PLANES[0])
    assert not counts("limits", "Deployment istio-system/istiod-stable", mesh)
    assert not counts("run-as-root", "Deployment mesh/istiod-next", mesh)
    assert not counts("debug-ports", "Deployment istio-system/istiod-stable", mesh)
    assert not counts("debug-ports", "Service istio-system/istiod-stable", mesh)
    assert counts("limits", "Deployment istio-system/istiod", mesh), "no control plane has this name"


def test_the_labs_own_mesh_is_as_it_was() -> None:
    mesh = Mesh("default")
    assert not counts("limits", "Deployment istio-system/istiod", mesh)
    assert not counts("limits", "Deployment istio-system/prometheus", mesh)
    assert not counts("debug-ports", "Service istio-system/istiod-revision-tag-x", mesh)
    assert counts("limits", "Deployment istio-system/istiod-other", mesh)
