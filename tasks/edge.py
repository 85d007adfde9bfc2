"""The mesh's edge: its gateways opened and closed as a production mesh would, and asked from both sides."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

from meshlab.checks import egress as egress_checks
from meshlab.checks import ingress as ingress_checks
from meshlab.checks.base import run_check, skipped
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.errors import MeshlabError
from meshlab.istio.distribution import Distribution
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import context_of, istioctl_of, kube_of
from meshlab.run.journal import RunRef, record_check
from meshlab.run.results import CheckResult
from meshlab.security.gateways import egress, ingress
from meshlab.security.gateways.entry import IngressProbe, gateway_pods, missing, opened
from meshlab.security.gateways.exit import EgressProbe
from meshlab.security.gateways.pki import LIFETIME, make_keys
from tasks.common import lab_task
from tasks.resume import checks_passed

INGRESS: dict[str, Callable[[IngressProbe], CheckResult]] = {
    "ingress.https": ingress_checks.https,
    "ingress.mtls": ingress_checks.mtls,
    "ingress.jwt": ingress_checks.tokens,
}


def check_edge(run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution) -> None:
    """Both ways side by side: they share no object, and removing the namespace outside takes five seconds."""
    inwards = check_ingress.submit(run, config, cluster, distribution)
    try:
        check_egress(run, config, cluster, distribution)
    finally:
        inwards.wait()
    inwards.result()


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
        return [
            record_check(run, run_check(name, judge, granted=config.scope)) for name, judge in INGRESS.items()
        ]
    try:
        without = _without(kube, ingress.GATEWAY, *INGRESS)
    except MeshlabError as problem:
        return _not_made(run, config, problem, *INGRESS)
    if without:
        return [record_check(run, check) for check in without]
    with Changes(kube, context_of(run).ledger, run) as changes, ExitStack() as stack:
        entry: IngressProbe | MeshlabError
        try:
            keys = make_keys(*ingress.HOSTS, lifetime=lifetime)
            istioctl = istioctl_of(cluster, distribution)
            way = opened(kube, istioctl, changes, config.namespace, keys=keys, alter=alter)
            entry = stack.enter_context(way)
        except MeshlabError as problem:
            entry = problem

        def made(name: str) -> CheckResult:
            if isinstance(entry, MeshlabError):
                raise entry
            return INGRESS[name](entry)

        pool = stack.enter_context(ThreadPoolExecutor(max_workers=len(INGRESS), thread_name_prefix="ingress"))
        checks = list(pool.map(lambda name: run_check(name, made, name), INGRESS))
        return [record_check(run, check) for check in checks]


@lab_task("check-egress", verify=checks_passed, depends_on_pods=True)
def check_egress(
    run: RunRef,
    config: LabConfig,
    cluster: ClusterRef,
    distribution: Distribution,
    alter: ingress.Alter = ingress.unchanged,
) -> list[CheckResult]:
    """egress.blocked, egress.gateway: asked from the sleep pod; the destination and the gateway count.

    alter: what a planted fault makes of the objects that close the way.
    """
    kube, whole = kube_of(cluster), config.scope == "mesh"
    try:
        without = _without(kube, egress.GATEWAY, "egress.gateway") if whole else []
        gateways = gateway_pods(kube, egress.GATEWAY) if whole else []
    except MeshlabError as problem:
        return _not_made(run, config, problem, "egress.blocked", "egress.gateway")
    asked: list[tuple[egress_checks.Open, egress_checks.Closed]] = []
    with Changes(kube, context_of(run).ledger, run) as changes:
        way = EgressProbe(
            kube,
            istioctl_of(cluster, distribution),
            changes,
            config.namespace,
            egress.OUTSIDE if whole else config.namespace,
            gateways=gateways,
            alter=alter,
        )

        def blocked() -> CheckResult:
            way.begin()
            free = egress_checks.ask_open(way)
            way.close()
            asked.append((free, egress_checks.ask_closed(way)))
            return egress_checks.blocked(*asked[0])

        def gateway() -> CheckResult:
            if not asked:
                raise MeshlabError(
                    "the way out could not be closed: see egress.blocked",
                    remedy="mend what kept egress.blocked from being made",
                )
            return egress_checks.gateway(*asked[0], egress_checks.ask_declared(way))

        checks = [run_check("egress.blocked", blocked, granted=config.scope)]
        checks += without or [run_check("egress.gateway", gateway, granted=config.scope)]
        return [record_check(run, check) for check in checks]


def _without(kube: Kube, gateway: str, *check_ids: str) -> list[CheckResult]:
    """The checks' answers where the gateway can't be used, none where it can."""
    lacks = missing(kube, gateway)
    if lacks is None:
        return []
    remedy = "install a profile with it (demo)" if lacks.chosen else "look at the pods of istio-system"
    return [skipped(check_id, lacks.reason, asked_for=lacks.chosen, remedy=remedy) for check_id in check_ids]


def _not_made(run: RunRef, config: LabConfig, problem: MeshlabError, *check_ids: str) -> list[CheckResult]:
    """The checks' answers where it can't even be found out whether the gateway is there."""

    def refuse() -> CheckResult:
        raise problem

    return [record_check(run, run_check(name, refuse, granted=config.scope)) for name in check_ids]
