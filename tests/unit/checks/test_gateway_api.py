"""gateway.crds: too old ones are named, and what can't be known is a skip with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from meshlab.checks.base import run_check
from meshlab.checks.gateway_api import crds, crds_wanted
from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from meshlab.run.results import CheckResult, Verdict
from tests.fakes.gateway_definitions import bundle, cluster
from tests.fakes.kube import FakeKube

ISTIO = "1.31.0-dev"
ASKED = LabConfig(security={"gateway_api": True})


def checked(kube: FakeKube, istio: str = ISTIO) -> CheckResult:
    return run_check("gateway.crds", crds, kube, istio)


def test_definitions_of_the_version_that_istio_depends_on_pass() -> None:
    found = checked(cluster(bundle("v1.6.0")))
    assert found.verdict is Verdict.PASS
    assert found.summary == "6 definitions of Gateway API v1.6.0, 0 too old for Istio 1.31.0-dev"
    assert {"name": "gateways", "gateway api": "v1.6.0"} in found.evidence["definitions"]


def test_definitions_of_1_4_are_red_and_named() -> None:
    found = checked(cluster(bundle("v1.4.1", frontend=False)))
    assert found.verdict is Verdict.FAIL
    problems = " ".join(found.evidence["problems"])
    assert "tlsroutes" in problems and "gateways" in problems and "httproutes" not in problems
    assert "v1.4.1" in problems and found.remedy


def test_a_cluster_without_any_is_a_skip_with_the_reason() -> None:
    found = checked(FakeKube())
    assert (found.verdict, found.asked_for) == (Verdict.SKIPPED, True)
    assert "no definitions" in str(found.reason)


class Withheld(FakeKube):
    """An account that may not read definitions."""

    status = 403

    def get(self, api_version: str, kind: str, *rest: Any) -> dict[str, Any] | None:
        raise KubeError(f"{kind} may not be read", status=self.status, remedy="ask for it")


@pytest.mark.parametrize(
    ("status", "verdict"), [(403, Verdict.SKIPPED), (500, Verdict.INFRA_ERROR)], ids=["forbidden", "down"]
)
def test_what_may_not_be_read_is_skipped_and_what_fails_is_told(status: int, verdict: Verdict) -> None:
    kube = Withheld()
    kube.kinds["gateway.networking.k8s.io/v1", "Gateway"] = True
    kube.status = status
    found = checked(kube)
    assert found.verdict is verdict
    assert found.reason == "CustomResourceDefinition may not be read"


def test_without_a_version_nothing_can_be_said() -> None:
    found = checked(cluster(bundle("v1.4.1")), "")
    assert found.verdict is Verdict.SKIPPED
    assert "version of the control plane is not known" in str(found.reason)


def test_it_is_made_where_it_is_asked_for_or_gateway_api_is_there() -> None:
    there, nowhere = cluster(bundle("v1.6.0")), FakeKube()
    assert crds_wanted(there, LabConfig()) and crds_wanted(nowhere, ASKED)  # type: ignore[arg-type]
    assert not crds_wanted(nowhere, LabConfig())  # type: ignore[arg-type]
