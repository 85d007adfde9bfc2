"""Mutual TLS: measured while plaintext is taken, then STRICT until `end_strict`; the checks in between."""

from __future__ import annotations

from collections.abc import Callable

from meshlab.app.deployment import as_pulled
from meshlab.checks import mtls
from meshlab.checks.base import run_check
from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local.images import replacement
from meshlab.config.settings import LabConfig
from meshlab.core.attempt import attempt, given
from meshlab.core.errors import KubeError, MeshlabError
from meshlab.core.text import pluralize
from meshlab.istio.distribution import Distribution
from meshlab.istio.drained import wait_in_force
from meshlab.istio.images import in_cluster
from meshlab.istio.mesh import Mesh
from meshlab.kube.apply import ObjectRef
from meshlab.kube.changes import Changes, restore_left
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of, mesh_of
from meshlab.lifecycle.resume import active
from meshlab.run.journal import RunRef, record_check
from meshlab.run.results import CheckResult
from meshlab.security.mtls import capture, stage
from meshlab.security.mtls.stage import Evidence, Strict
from tasks.common import lab_task, log_info
from tasks.resume import any_value, checks_passed, done_before

Judge = Callable[[Mesh, Strict, Evidence], CheckResult]
EMBEDDED_PYTHON = "curlimages/curl"  # ours has Python, as all of ours do


@lab_task("begin-strict", verify=any_value, in_process=True)
def begin_strict(run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution) -> Strict:
    """Measure plaintext, then demand mutual TLS; return when every proxy of the app has acknowledged it.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        distribution: Its Istio.

    Returns:
        The stage under way; `end_strict` ends it.
    """
    kube, istioctl = kube_of(cluster), istioctl_of(cluster, distribution)
    if active(run) is not None:  # what was cut off has only just been put back
        wait_in_force(kube, istioctl, config.namespace)
    ledger = context_of(run).ledger
    changes, pair = Changes(kube, ledger, run), Changes(kube, ledger, run)
    try:
        strict = stage.begin(kube, changes, pair, istioctl, config, mesh_of(run, cluster))
    except BaseException:
        changes.restore()
        pair.restore()
        raise
    log_info(
        f"STRICT holds for the {strict.where}: {pluralize(len(strict.acknowledged), 'proxies')} in {strict.seconds:.1f} s"
    )
    if done_before(run, config, kube, "check-mtls"):
        pair.restore()  # nobody will capture it; the next stages shall not find it
    return strict


@lab_task("check-mtls", verify=checks_passed, depends_on_pods=True)
def check_mtls(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    strict: Strict | None,
    interfaces: tuple[str, str] = (capture.WIRE, capture.APP),
) -> list[CheckResult]:
    """Make mtls.refusal, .packets, .identity and .counter, under STRICT.

    The pair without mutual TLS is removed afterwards, so that later stages do not find it.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        strict: The stage; None where it could not begin.
        interfaces: Of the wire and of the application's hop; tests sabotage them.

    Returns:
        The checks.
    """
    kube = kube_of(cluster)
    found = attempt(lambda: _gather(kube, config, strict, interfaces))

    def made(judge: Judge) -> CheckResult:
        evidence = given(found)
        assert strict is not None  # there is evidence
        return judge(mesh_of(run, cluster), strict, evidence)

    results = [
        record_check(run, run_check(name, made, judge, granted=config.scope))
        for name, judge in CHECKS.items()
    ]
    if strict is not None:
        strict.pair.restore()
    return results


@lab_task("end-strict", verify=any_value)
def end_strict(
    run: RunRef, config: LabConfig, cluster: ClusterRef, strict: Strict | None
) -> tuple[ObjectRef, ...]:
    """Put back what `begin_strict` changed; it did so itself where it failed. May be run twice.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        strict: The stage; None where it could not begin.

    Returns:
        What was put back.
    """
    return (*strict.pair.restore(), *strict.changes.restore()) if strict is not None else ()


@lab_task("restore-changes")
def restore_changes(run: RunRef, cluster: ClusterRef) -> tuple[ObjectRef, ...]:
    """Put back whatever a stage of this run has changed and, because it failed, not put back itself."""
    return restore_left(kube_of(cluster), context_of(run).ledger)


def capture_image(kube: Kube, config: LabConfig) -> str:
    """The image of the captures: the setting's, else one of ours, else the official Python image as nodes pull it."""
    if config.security.capture_image is not None:
        return config.security.capture_image
    ours = replacement(EMBEDDED_PYTHON, in_cluster(kube)) if config.image_source == "embedded" else None
    return ours or as_pulled(config, capture.OFFICIAL_PYTHON)


def _gather(kube: Kube, config: LabConfig, strict: Strict | None, interfaces: tuple[str, str]) -> Evidence:
    if strict is None:
        raise MeshlabError("step begin-strict failed, see there", remedy="mend it and run again")
    return stage.gather(kube, config, image=capture_image(kube, config), interfaces=interfaces)


def _refusal(mesh: Mesh, strict: Strict, found: Evidence) -> CheckResult:
    strictly = given(found.refusal)
    return mtls.refusal(given(strict.permissive), *strictly)


def _identity(mesh: Mesh, strict: Strict, found: Evidence) -> CheckResult:
    shown = None if _forbidden(found.shown) else given(found.shown)
    counted, domain = given(found.window).counted, mesh.trust_domain
    return mtls.identity(found.edges, counted, given(found.held), shown, trust_domain=domain)


CHECKS: dict[str, Judge] = {
    "mtls.refusal": _refusal,
    "mtls.packets": lambda mesh, strict, found: mtls.packets(found.edges, given(found.window)),
    "mtls.identity": _identity,
    "mtls.counter": lambda mesh, strict, found: mtls.counter(found.edges, given(found.window)),
}


def _forbidden(found: object) -> bool:
    return isinstance(found, KubeError) and found.status == mtls.FORBIDDEN
