"""gateway.crds: whether the CustomResourceDefinitions of Gateway API fit the Istio that is to read them."""

from __future__ import annotations

from meshlab.checks.base import judged, skipped
from meshlab.config.settings import LabConfig
from meshlab.core.errors import KubeError
from meshlab.istio import gateway_api
from meshlab.istio.control_plane import FORBIDDEN
from meshlab.istio.gateway_api import definitions, is_served, too_old, versions_of
from meshlab.istio.support import minor
from meshlab.kube.client import Kube
from meshlab.run.results import CheckResult

CHECK = "gateway.crds"
REMEDY = "install the standard channel of the Gateway API that this Istio depends on (its go.mod: sigs.k8s.io/gateway-api)"


def crds_wanted(kube: Kube, config: LabConfig) -> bool:
    """Whether gateway.crds is made: asked for, or the cluster serves Gateway API.

    Args:
        kube: Client of the cluster.
        config: The settings of the run.

    Returns:
        True where it is.
    """
    return config.security.gateway_api or is_served(kube)


def crds(kube: Kube, istio: str) -> CheckResult:
    """Check that no definition is too old for the Istio in use.

    Args:
        kube: Client of the cluster.
        istio: The version of the control plane.

    Returns:
        gateway.crds; skipped where there are none, where they may not be read, or where the version is not known.
        Evidence: `definitions` (name, version of Gateway API), `istio`.
    """
    try:
        found = definitions(kube)
    except KubeError as problem:
        if problem.status not in FORBIDDEN:
            raise
        return skipped(CHECK, problem.message, asked_for=True, remedy=problem.remedy)
    if not found:
        return skipped(
            CHECK, f"the cluster has no definitions of {gateway_api.GROUP}", asked_for=True, remedy=REMEDY
        )
    if minor(istio) is None:
        why = f"the version of the control plane is not known ({istio or 'it tells none'})"
        return skipped(CHECK, why, asked_for=True, remedy="see istio.versions")
    evidence = {
        "istio": istio,
        "definitions": [{"name": each.name, "gateway api": each.bundle} for each in found],
    }
    problems = too_old(found, istio)
    summary = f"{len(found)} definitions of Gateway API {versions_of(found)}, {len(problems)} too old for Istio {istio}"
    return judged(CHECK, problems, summary, evidence, remedy=REMEDY)
