"""Accepted risks: the lab's own, the configuration's, and those that have expired."""

from __future__ import annotations

from datetime import date

import pytest
from pydantic import ValidationError

from meshlab.cli.preflight import audit_problems
from meshlab.config.settings import LabConfig
from meshlab.istio.control_plane import ControlPlane
from meshlab.istio.mesh import Mesh
from meshlab.security.audit.acceptance import acceptances, judge, lab_made
from meshlab.security.audit.model import Acceptance, Finding, Severity
from meshlab.security.audit.rules import RULES

TODAY = date(2026, 11, 23)
FINDING = Finding("limits", Severity.WARNING, "Deployment shop/cart", "no limit", "")


def accepted(*risks: Acceptance) -> Finding:
    (finding,) = judge([FINDING], risks, TODAY)
    return finding


def test_a_finding_counts_until_it_is_accepted():
    assert accepted().counts
    risk = Acceptance("limits", "Deployment shop/*", "measured", TODAY)
    assert not accepted(risk).counts and accepted(risk).accepted == risk


def test_an_expired_acceptance_counts_no_longer_and_is_named():
    late = Acceptance("limits", "Deployment shop/*", "measured", date(2026, 11, 22))
    assert accepted(late).counts and accepted(late).expired == late
    valid = Acceptance("limits", "Deployment shop/cart", "measured again")
    assert accepted(late, valid).accepted == valid and accepted(late, valid).expired is None


def test_of_another_rule_or_object():
    assert accepted(Acceptance("privileged", "*", "no")).counts
    assert accepted(Acceptance("limits", "Deployment default/*", "no")).counts


def test_what_the_lab_accepts_depends_on_whose_cluster_it_is():
    local = lab_made(LabConfig())
    assert {each.rule for each in local} <= {rule.id for rule in RULES}
    assert Acceptance("default-deny", "Namespace default", local[1].reason) in local
    existing = lab_made(LabConfig(cluster="existing"))
    assert not any("istio-system" in each.resource or each.rule == "istio-version" for each in existing)
    assert any(each.resource == "Deployment meshlab/productpage-v1" for each in existing)
    kept = lab_made(LabConfig.model_validate({"cluster": "existing", "istio": {"distribution": "embedded"}}))
    assert any(each.resource == "Deployment istio-system/istiod" for each in kept)


def test_the_configuration_adds_its_own_and_can_drop_the_labs():
    risk = {
        "rule": "audit.limits",
        "resource": "Deployment shop/*",
        "reason": "measured in production",
        "expires": "2027-01-31",
    }
    config = LabConfig.model_validate({"audit": {"accepted": [risk], "accept_lab": False}})
    assert acceptances(config) == (
        Acceptance("limits", "Deployment shop/*", "measured in production", date(2027, 1, 31)),
    )
    assert audit_problems(config) == []


@pytest.mark.parametrize(
    "wrong",
    [{"reason": "short"}, {"expires": "soon"}, {"expires": None}, {"resource": ""}, {"until": "2027-01-01"}],
)
def test_a_wrong_risk_is_refused(wrong: dict[str, str]):
    risk = {
        "rule": "limits",
        "resource": "Deployment a/b",
        "reason": "measured in production",
        "expires": "2027-01-31",
    }
    with pytest.raises(ValidationError):
        LabConfig.model_validate({"audit": {"accepted": [risk | wrong]}})


def test_a_rule_that_does_not_exist_is_named_before_anything_is_touched():
    risk = {"rule": "limit", "resource": "*", "reason": "measured in production", "expires": "2027-01-31"}
    (problem,) = audit_problems(LabConfig.model_validate({"audit": {"accepted": [risk]}}))
    assert problem.where == "audit.accepted.0.rule" and "limits" in problem.remedy


def test_what_makes_the_metrics_is_known_in_the_root_namespace():
    mesh = Mesh("default", root_namespace="mesh-config")
    known = [each.resource for each in lab_made(LabConfig(), mesh) if each.rule == "analyze"]
    assert known == ["EnvoyFilter mesh-config/standard-metrics"]


def test_the_services_of_revision_tags_are_those_of_the_control_plane():
    plane = ControlPlane("istiod-stable", "istio-system", "stable", True, ("default", "prod"))
    made = lab_made(LabConfig(), Mesh("default", control_planes=(plane,)))
    services = {each.resource for each in made if each.rule == "debug-ports"}
    assert services == {
        "Deployment istio-system/grafana",
        "Deployment istio-system/istiod-stable",
        "Service istio-system/istiod-stable*",
        "Service istio-system/istiod-revision-tag-default*",
        "Service istio-system/istiod-revision-tag-prod*",
    }
