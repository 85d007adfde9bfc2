"""The mesh's gateways: opened and closed as a production mesh would, and asked from both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta

from meshlab.app.deployment import fitted, with_images
from meshlab.app.pod_security import enforces_restricted
from meshlab.checks import bypass as bypass_checks
from meshlab.checks import egress as egress_checks
from meshlab.checks import ingress as ingress_checks
from meshlab.checks.base import infra_error, run_check, skipped
from meshlab.checks.gateway_api import REMEDY as CRDS_REMEDY
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.attempt import attempt, given
from meshlab.core.errors import MeshlabError
from meshlab.istio.distribution import Distribution
from meshlab.istio.gateway_api import definitions, validates_frontend
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of, mesh_of
from meshlab.run.journal import RunRef, record_check
from meshlab.run.results import CheckResult
from meshlab.security.gateways import egress, gateway_api, ingress
from meshlab.security.gateways.bypass import BypassProbe
from meshlab.security.gateways.entry import IngressProbe, Missing, opened, usable
from meshlab.security.gateways.exit import EgressProbe
from meshlab.security.gateways.pki import LIFETIME, make_keys
from tasks.causes import note_causes
from tasks.common import lab_task
from tasks.resume import checks_passed

INGRESS: dict[str, Callable[[IngressProbe], CheckResult]] = {
    "ingress.https": ingress_checks.https,
    "ingress.mtls": ingress_checks.mtls,
    "ingress.jwt": ingress_checks.tokens,
}
GATEWAY: dict[str, Callable[[IngressProbe], CheckResult]] = {
    "gateway.https": lambda probe: ingress_checks.https(probe, "gateway.https"),
    "gateway.mtls": lambda probe: ingress_checks.mtls(probe, "gateway.mtls"),
    "gateway.jwt": lambda probe: ingress_checks.tokens(probe, "gateway.jwt"),
}


def check_edge(run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution) -> None:
    """Check ingress and egress side by side, then the edge by Gateway API where it is asked for.

    The first two share no object, and removing the namespace outside takes five seconds. The last serves the keys for
    tokens from the same pod as the ingress, so it comes after it.

    Args:
        run: The run.
        config: Its settings.
        cluster: Its cluster.
        distribution: Its Istio.
    """
    inwards = check_ingress.submit(run, config, cluster, distribution)
    try:
        check_egress(run, config, cluster, distribution)
    finally:
        inwards.wait()
    inwards.result()
    if config.security.gateway_api:
        check_gateway(run, config, cluster, distribution)


@lab_task("check-ingress", verify=checks_passed, depends_on_pods=True)
def check_ingress(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    distribution: Distribution,
    alter: ingress.Alter = ingress.unchanged,
    lifetime: timedelta = LIFETIME,
) -> list[CheckResult]:
    """ingress.https, ingress.mtls, ingress.jwt: asked from this machine, through port-forwards to the gateway.

    alter, lifetime: what a planted fault makes of the objects, and of the gateway's certificates.
    """
    kube = kube_of(cluster)
    if config.scope != "mesh":
        return _recorded(run, (run_check(*check, granted=config.scope) for check in INGRESS.items()))
    found = attempt(lambda: usable(kube, ingress.GATEWAY, mesh_of(run, cluster).ingress_namespace))
    if not isinstance(found, list):
        return _recorded(run, _without(found, *INGRESS))

    def open_(changes: Changes) -> AbstractContextManager[IngressProbe]:
        keys = make_keys(*ingress.HOSTS, lifetime=lifetime)
        istioctl, mesh = istioctl_of(cluster, distribution), mesh_of(run, cluster)
        fit = _fit(kube, config, mesh.namespace)
        return opened(kube, istioctl, changes, mesh, keys=keys, alter=alter, fit=fit)

    return _asked(run, config, cluster, "check-ingress", INGRESS, open_)


@lab_task("check-gateway", verify=checks_passed, depends_on_pods=True)
def check_gateway(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    distribution: Distribution,
    alter: ingress.Alter = ingress.unchanged,
    lifetime: timedelta = LIFETIME,
) -> list[CheckResult]:
    """gateway.https, gateway.mtls, gateway.jwt: what the three of the ingress prove, at a gateway by Gateway API.

    Istio makes the gateway for the run's own Gateway; afterwards nothing of it may be left. alter, lifetime: what a
    planted fault makes of the objects, and of the gateway's certificates.
    """
    kube = kube_of(cluster)
    if config.scope != "mesh":
        return _recorded(run, (run_check(*check, granted=config.scope) for check in GATEWAY.items()))
    known = attempt(lambda: (definitions(kube), mesh_of(run, cluster)))
    if isinstance(known, MeshlabError):
        return _recorded(run, _without(known, *GATEWAY))
    found, mesh = known
    if not found:
        why = "the cluster has no CustomResourceDefinitions of Gateway API"
        return _recorded(run, (skipped(each, why, asked_for=True, remedy=CRDS_REMEDY) for each in GATEWAY))
    running = mesh.serving.version if mesh.serving else distribution.version
    frontend = validates_frontend(found, running)

    def open_(changes: Changes) -> AbstractContextManager[IngressProbe]:
        istioctl, keys = istioctl_of(cluster, distribution), make_keys(*ingress.HOSTS, lifetime=lifetime)
        fit = _fit(kube, config, mesh.namespace)
        return gateway_api.opened(
            kube, istioctl, changes, mesh, frontend=frontend, keys=keys, alter=alter, fit=fit
        )

    with gateway_api.gone_afterwards(kube, mesh.namespace):
        return _asked(run, config, cluster, "check-gateway", GATEWAY, open_)


def _asked(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    step: str,
    checks: Mapping[str, Callable[[IngressProbe], CheckResult]],
    open_: Callable[[Changes], AbstractContextManager[IngressProbe]],
) -> list[CheckResult]:
    """Open a gateway, make its checks side by side, and put everything back."""
    with Changes(kube_of(cluster), context_of(run).ledger, run) as changes, ExitStack() as stack:
        probe = attempt(lambda: stack.enter_context(open_(changes)))
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=len(checks), thread_name_prefix=step))
        found = _recorded(
            run, pool.map(lambda name: run_check(name, lambda: checks[name](given(probe))), checks)
        )
        note_causes(run, step, (config, cluster))  # while the stage's own objects are there
        return found


@lab_task("check-egress", verify=checks_passed, depends_on_pods=True)
def check_egress(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    distribution: Distribution,
    alter: ingress.Alter = ingress.unchanged,
) -> list[CheckResult]:
    """egress.blocked, egress.gateway, and where it is asked for egress.no-bypass; the destination and the gateway count.

    alter: what a planted fault makes of the objects that close the path out.
    """
    kube, whole = kube_of(cluster), config.scope == "mesh"
    through = ("egress.gateway", *([bypass_checks.CHECK] if config.security.bypass else []))
    found = (
        attempt(lambda: usable(kube, egress.GATEWAY, mesh_of(run, cluster).egress_namespace)) if whole else []
    )
    if isinstance(found, MeshlabError):
        return _recorded(run, _without(found, "egress.blocked", *through))
    asked: list[tuple[egress_checks.Open, egress_checks.Closed]] = []
    where = egress.OUTSIDE if whole else config.namespace
    ledger = context_of(run).ledger
    with Changes(kube, ledger, run) as changes, Changes(kube, ledger, run) as fence:
        probe = EgressProbe(
            kube,
            istioctl_of(cluster, distribution),
            changes,
            mesh_of(run, cluster),
            where,
            gateways=found if isinstance(found, list) else (),
            alter=alter,
            fit=_fit(kube, config, where),
        )

        def blocked() -> CheckResult:
            probe.begin()
            free = egress_checks.ask_open(probe)
            probe.close()
            asked.append((free, egress_checks.ask_closed(probe)))
            return egress_checks.blocked(*asked[0])

        def gateway() -> CheckResult:
            if not asked:
                raise _not_closed()
            return egress_checks.gateway(*asked[0], egress_checks.ask_declared(probe))

        def no_bypass() -> CheckResult:
            if not asked:
                raise _not_closed()
            around = BypassProbe(
                kube,
                istioctl_of(cluster, distribution),
                changes,
                fence,
                probe,
                images=lambda callers: with_images(kube, config, callers, ()),
            )
            around.begin()
            return bypass_checks.no_bypass(*bypass_checks.ask(around))

        checks = [run_check("egress.blocked", blocked, granted=config.scope)]
        making = {"egress.gateway": gateway, bypass_checks.CHECK: no_bypass}
        if isinstance(found, Missing):
            checks += _without(found, *through)
        else:
            checks += [run_check(name, making[name], granted=config.scope) for name in through]
        recorded = _recorded(run, checks)
        note_causes(run, "check-egress", (config, cluster))  # while the stage's own objects are there
        return recorded


def _fit(kube: Kube, config: LabConfig, namespace: str) -> ingress.Alter:
    """What the settings, and the namespace of its pods, make of a stage's objects; their image is the cluster's own."""
    restricted = enforces_restricted(kube, namespace)
    return lambda objects: fitted(config, objects, pulled=False, restricted=restricted)


def _not_closed() -> MeshlabError:
    return MeshlabError(
        "the path out could not be closed: see egress.blocked",
        remedy="mend what kept egress.blocked from being made",
    )


def _without(found: Missing | MeshlabError, *check_ids: str) -> list[CheckResult]:
    """The checks' answers where the gateway can't be used, or where that can't even be found out."""
    if isinstance(found, MeshlabError):
        return [infra_error(check_id, found.message, remedy=found.remedy) for check_id in check_ids]
    remedy = "install a profile with it (demo)" if found.chosen else "look at the pods of istio-system"
    return [skipped(check_id, found.reason, asked_for=found.chosen, remedy=remedy) for check_id in check_ids]


def _recorded(run: RunRef, checks: Iterable[CheckResult]) -> list[CheckResult]:
    return [record_check(run, check) for check in checks]
