"""The catalogue of checks, the builders of their answers, and the one way to run them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from meshlab.config.settings import LabConfig
from meshlab.core.errors import MeshlabError, NotHereError
from meshlab.core.waiting import Clock, SystemClock
from meshlab.run.results import SCOPES, CheckResult, Verdict


@dataclass(frozen=True)
class CheckSpec:
    """A check that exists.

    scope: the write scope that it needs (observe, namespace or mesh). asked_by: the setting that asks for it, as
    `section.field`; empty where every run owes it.
    """

    id: str
    title: str
    scope: str = "observe"
    asked_by: str = ""


_SPECS = (
    CheckSpec("cluster.nodes-ready", "The wanted number of nodes is Ready"),
    CheckSpec("cluster.version", "Versions of the server, the Python client, istioctl and kubectl"),
    CheckSpec("istio.cli", "istioctl is present, with its version and checksum"),
    CheckSpec("istio.control-plane", "istiod and the gateways are Running and Ready"),
    CheckSpec("istio.injection", "The namespace is labelled and every pod really has a sidecar"),
    CheckSpec("istio.versions", "Versions of the client, the control plane and the data plane"),
    CheckSpec("istio.proxies-synced", "Every proxy is synced and rejected nothing"),
    CheckSpec("istio.analyze", "istioctl analyze finds no error"),
    CheckSpec("app.bookinfo", "The workloads of Bookinfo and sleep are Ready"),
    CheckSpec("app.productpage", "Every request from the sleep pod gets the product page"),
    CheckSpec("envoy.scrape", "productpage's sidecar exports the request metrics on port 15090"),
    CheckSpec("envoy.dashboard", "The dashboard of productpage's Envoy: clusters, listeners, certificates"),
    CheckSpec("prometheus.targets", "Prometheus scrapes every expected target"),
    CheckSpec("prometheus.requests-total", "istio_requests_total has every expected series"),
    CheckSpec("prometheus.code-200", "istio_requests_total with response code 200 matches the traffic"),
    CheckSpec(
        "prometheus.sleep-to-productpage", "The calls from sleep to productpage are counted on both sides"
    ),
    CheckSpec("prometheus.rate-5m", "rate() over five minutes is what the raw samples give"),
    CheckSpec(
        "prometheus.reconcile", "Requests counted are the requests sent, by reporter and response code"
    ),
    CheckSpec("grafana.mesh", "Every query of Istio's mesh dashboard"),
    CheckSpec("grafana.service", "Every query of Istio's service dashboard, for productpage"),
    CheckSpec("grafana.workload", "Every query of Istio's workload dashboard, for reviews-v3"),
    CheckSpec("grafana.all-panels", "Every query of every dashboard that Istio ships"),
    CheckSpec("jaeger.productpage-traces", "Traces of productpage reach details, reviews and ratings"),
    CheckSpec("kiali.graph", "Kiali's graph of the namespace shows the application"),
    CheckSpec("graph.edges", "The service graph has exactly the application's edges"),
    CheckSpec("graph.agreement", "Metrics and traces tell the same service graph"),
    CheckSpec(
        "authz.truth-table",
        "Every request meets what the authorization policies say, by caller, service, method, path and token",
        scope="namespace",
    ),
    CheckSpec("ingress.https", "The gateway's TLS: own authority, name, version, redirect", scope="mesh"),
    CheckSpec(
        "ingress.mtls",
        "The gateway takes clients with a certificate of the right authority only",
        scope="mesh",
    ),
    CheckSpec("ingress.jwt", "The gateway tells good tokens from all kinds of bad ones", scope="mesh"),
    CheckSpec(
        "gateway.https",
        "A gateway by Gateway API: own authority, name, TLS version, redirect",
        scope="mesh",
        asked_by="security.gateway_api",
    ),
    CheckSpec(
        "gateway.mtls",
        "A gateway by Gateway API takes clients with a certificate of the right authority only",
        scope="mesh",
        asked_by="security.gateway_api",
    ),
    CheckSpec(
        "gateway.jwt",
        "A gateway by Gateway API tells good tokens from all kinds of bad ones",
        scope="mesh",
        asked_by="security.gateway_api",
    ),
    CheckSpec(
        "gateway.crds",
        "The CustomResourceDefinitions of Gateway API are new enough for this Istio",
        asked_by="security.gateway_api",
    ),
    CheckSpec("egress.blocked", "What is not declared can't be reached from the mesh", scope="namespace"),
    CheckSpec("egress.gateway", "A declared host is reached through the egress gateway only", scope="mesh"),
    CheckSpec(
        "egress.no-bypass",
        "With a NetworkPolicy nobody gets around the egress gateway",
        scope="mesh",
        asked_by="security.bypass",
    ),
    CheckSpec("audit.istio-version", "Istio's version is supported and has no known advisory"),
    CheckSpec("audit.strict-mtls", "Mutual TLS is STRICT in the whole mesh"),
    CheckSpec("audit.default-deny", "Requests that no policy allows are refused"),
    CheckSpec("audit.allow-all", "No policy allows everything"),
    CheckSpec("audit.deny-by-path", "Policies that refuse by path have paths normalised"),
    CheckSpec("audit.gateway-hosts", "No gateway serves every host"),
    CheckSpec("audit.gateway-tls", "Gateways speak TLS 1.2 or newer"),
    CheckSpec("audit.destination-rule-tls", "No DestinationRule switches TLS or its verification off"),
    CheckSpec("audit.egress-policy", "Only declared destinations may be called"),
    CheckSpec("audit.sidecars", "Every pod of an injected namespace has its sidecar"),
    CheckSpec("audit.limits", "Containers have limits"),
    CheckSpec("audit.privileged", "No container has its node's powers"),
    CheckSpec("audit.run-as-root", "No container runs as root"),
    CheckSpec("audit.shared-accounts", "No service account is shared by applications"),
    CheckSpec("audit.token-mounts", "No token of a service account is mounted needlessly"),
    CheckSpec("audit.first-party-tokens", "Proxies use tokens that are made for istiod"),
    CheckSpec("audit.debug-ports", "No debug port is offered"),
    CheckSpec("audit.certificates", "Certificates of gateways and of the mesh are not near their end"),
    CheckSpec("audit.injection", "Every namespace with pods asks for sidecars"),
    CheckSpec("audit.analyze", "istioctl analyze finds nothing"),
    CheckSpec(
        "mtls.refusal",
        "Plaintext from outside the mesh is refused, and no application heard it",
        scope="namespace",
    ),
    CheckSpec(
        "mtls.packets", "On the wire there are TLS records and nothing of the requests", scope="namespace"
    ),
    CheckSpec(
        "mtls.identity", "Every peer's certificate names its service account and is valid", scope="namespace"
    ),
    CheckSpec("mtls.counter", "The mutual_tls counters rise by exactly the requests sent", scope="namespace"),
    CheckSpec(
        "restart.no-failed-request",
        "Restarts of our workloads fail no request, and a Job with a sidecar ends",
        scope="namespace",
        asked_by="security.restarts",
    ),
    CheckSpec(
        "rotation.leaf",
        "Every proxy renews its certificate in time, and no request fails",
        scope="mesh",
        asked_by="security.rotation",
    ),
    CheckSpec(
        "rotation.root",
        "Another intermediate and another root reach every proxy, and no request fails",
        scope="mesh",
        asked_by="security.rotation",
    ),
    CheckSpec("uninstall.nothing-left", "Nothing of Istio is left after the uninstall", scope="mesh"),
    CheckSpec("teardown.nothing-left", "Nothing that the run made is left"),
)
# Made by a flow of their own, not by the lab and the night.
_APART = (
    CheckSpec("upgrade.traffic", "Requests are answered throughout an upgrade of Istio", scope="mesh"),
    CheckSpec(
        "upgrade.versions",
        "Every proxy has the new version and revision, and the old revision is gone",
        scope="mesh",
    ),
    CheckSpec("upgrade.rollback", "An upgrade that fails is rolled back by itself", scope="mesh"),
)
CATALOG: Mapping[str, CheckSpec] = {spec.id: spec for spec in _SPECS}  # of the lab and the night
CHECKS: Mapping[str, CheckSpec] = {spec.id: spec for spec in (*_SPECS, *_APART)}


def owed(config: LabConfig) -> tuple[str, ...]:
    """Return ids of the checks that a run with these settings owes: those that no setting asks for, and those asked for."""
    return tuple(spec.id for spec in _SPECS if not spec.asked_by or _is_on(config, spec.asked_by))


def _is_on(config: LabConfig, setting: str) -> bool:
    section, _, field = setting.partition(".")
    return bool(getattr(getattr(config, section), field))


def passed(check_id: str, summary: str, evidence: Mapping[str, Any] | None = None) -> CheckResult:
    """Make a check that passed.

    Args:
        check_id: Its id in the catalogue.
        summary: One line with numbers.
        evidence: What was seen.

    Returns:
        The check.
    """
    return _result(check_id, Verdict.PASS, summary, evidence)


def failed(
    check_id: str, problems: Sequence[str], evidence: Mapping[str, Any] | None = None, *, remedy: str = ""
) -> CheckResult:
    """Make a check that failed: every problem is in the reason, the first of them in the summary.

    Args:
        check_id: Its id in the catalogue.
        problems: What is wrong, in sentences; at least one.
        evidence: What was seen.
        remedy: What to do.

    Returns:
        The check.

    Raises:
        ValueError: There is no problem.
    """
    if not problems:
        raise ValueError(f"{check_id}: a failure needs at least one problem")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    full = {**(evidence or {}), "problems": list(problems)}
    reason = "; ".join(problems)
    return _result(check_id, Verdict.FAIL, problems[0] + more, full, reason=reason, remedy=remedy)


def judged(
    check_id: str,
    problems: Sequence[str],
    summary: str,
    evidence: Mapping[str, Any] | None = None,
    *,
    remedy: str = "",
) -> CheckResult:
    """A pass when there is no problem, else a failure that names them all."""
    if problems:
        return failed(check_id, problems, {"observed": summary, **(evidence or {})}, remedy=remedy)
    return passed(check_id, summary, evidence)


def skipped(check_id: str, reason: str, *, asked_for: bool = False, remedy: str = "") -> CheckResult:
    """Make a check that was skipped.

    Args:
        check_id: Its id in the catalogue.
        reason: Why.
        asked_for: The user wanted it so, or the write scope excludes it.
        remedy: What to do so that it is made.

    Returns:
        The check.
    """
    return _result(check_id, Verdict.SKIPPED, f"skipped: {reason}", None, reason, remedy, asked_for=asked_for)


def broken(
    check_id: str, reason: str, evidence: Mapping[str, Any] | None = None, *, remedy: str = ""
) -> CheckResult:
    """The positive control did not trip, so a pass would prove nothing."""
    return _result(check_id, Verdict.BROKEN, f"control did not trip: {reason}", evidence, reason, remedy)


def infra_error(
    check_id: str, reason: str, evidence: Mapping[str, Any] | None = None, *, remedy: str = ""
) -> CheckResult:
    """Make a check that could not be made.

    Args:
        check_id: Its id in the catalogue.
        reason: Why.
        evidence: What was seen.
        remedy: What to do.

    Returns:
        The check.
    """
    return _result(check_id, Verdict.INFRA_ERROR, f"could not be made: {reason}", evidence, reason, remedy)


def run_check(
    check_id: str,
    function: Callable[..., CheckResult],
    *args: Any,
    granted: str = "mesh",
    clock: Clock | None = None,
    **kwargs: Any,
) -> CheckResult:
    """Run one check of the catalogue, timed. A MeshlabError never ends it; other exceptions are defects and pass through.

    Args:
        check_id: The check's id in the catalogue.
        function: Makes the check: `function(*args, **kwargs)`.
        *args: Its arguments.
        granted: The write scope of the run (observe, namespace or mesh). A check that needs more is skipped.
        clock: Times the check; a function with a parameter `clock` is given it, too.
        **kwargs: Its keyword arguments.

    Returns:
        What the function answered, with the seconds it took; an infra-error with the message and the remedy of a
        MeshlabError; a skip for a NotHereError.

    Raises:
        ValueError: The function answered for another check.
        KeyError: The id is not in the catalogue.
    """
    spec = CHECKS[check_id]
    if SCOPES.index(spec.scope) > SCOPES.index(granted):
        return skipped(
            check_id,
            f"needs scope {spec.scope}",
            asked_for=True,
            remedy=f"allow changes in the {spec.scope} (--allow-changes) if the cluster may be changed",
        )
    if clock is not None and "clock" in inspect.signature(function).parameters:
        kwargs["clock"] = clock
    clock = clock or SystemClock()
    start = clock.now()
    try:
        result = function(*args, **kwargs)
    except NotHereError as problem:
        remedy = problem.remedy if problem.told_by in ("", check_id) else f"see {problem.told_by}"
        result = skipped(check_id, problem.message, asked_for=True, remedy=remedy)
    except MeshlabError as problem:
        result = infra_error(check_id, problem.message, remedy=problem.remedy)
    if result.id != check_id:
        raise ValueError(f"the function given for {check_id} answered for {result.id}")
    return replace(result, seconds=clock.now() - start)


def _result(
    check_id: str,
    verdict: Verdict,
    summary: str,
    evidence: Mapping[str, Any] | None,
    reason: str | None = None,
    remedy: str | None = None,
    *,
    asked_for: bool = False,
) -> CheckResult:
    spec = CHECKS[check_id]
    return CheckResult(
        id=spec.id,
        title=spec.title,
        verdict=verdict,
        summary=summary,
        scope=spec.scope,
        evidence=dict(evidence or {}),
        reason=reason or None,
        remedy=remedy or None,
        asked_for=asked_for,
    )
