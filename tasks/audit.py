"""The audit: every rule over one inventory, findings shown by requests where one can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from meshlab.app.bookinfo import SLEEPER
from meshlab.app.source import Source, find_source
from meshlab.app.traffic_clients import CALLER
from meshlab.checks.audit import audit, rows
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig
from meshlab.core.attempt import attempt, given
from meshlab.core.errors import KubeError, MeshlabError, SecretsWithheldError
from meshlab.istio.analysis import analyze_mesh
from meshlab.istio.distribution import Distribution
from meshlab.istio.findings import Finding as Analyzed
from meshlab.istio.istioctl import MeshVersions
from meshlab.istio.mesh import Mesh
from meshlab.kube.client import Kube
from meshlab.lifecycle.context import istioctl_of, kube_of, mesh_of
from meshlab.run.journal import RunRef
from meshlab.run.results import CheckResult
from meshlab.security.audit.acceptance import acceptances, judge
from meshlab.security.audit.inventory import ANALYSIS, VERSIONS, Inventory, read_inventory, system_namespaces
from meshlab.security.audit.model import Examined, Finding, Rule
from meshlab.security.audit.proofs import Prover
from meshlab.security.audit.rules import RULES
from tasks.common import lab_task, make_checks
from tasks.report import publish_table
from tasks.resume import checks_passed


@lab_task("check-audit", verify=checks_passed, depends_on_pods=True)
def check_audit(
    run: RunRef, config: LabConfig, cluster: ClusterRef, distribution: Distribution
) -> list[CheckResult]:
    """Make audit.*: one check per rule; publishes the table `audit`.

    Args:
        run: The run.
        config: The settings of the run.
        cluster: The cluster.
        distribution: Istio's istioctl and samples.

    Returns:
        The checks.
    """
    proven: dict[str, tuple[Finding, ...]] = {}
    examined: dict[str, Examined] = {}

    def look() -> Inventory:
        inventory = take_inventory(config, cluster, distribution, mesh_of(run, cluster))
        examined.update({rule.id: rule.examine(inventory) for rule in RULES})
        proven.update(prove(config, kube_of(cluster), inventory, examined))
        return inventory

    read = attempt(look)

    def made(rule: Rule) -> CheckResult:
        return audit(rule, given(read), examined[rule.id], proven[rule.id])

    checks = make_checks(run, {rule.check: partial(made, rule) for rule in RULES})
    publish_table(
        "audit",
        [{"rule": rule.id, **row} for rule in RULES for row in rows(proven.get(rule.id, ()))],
        f"Findings of {len(RULES)} rules, those that are accepted among them",
    )
    return checks


def take_inventory(
    config: LabConfig, cluster: ClusterRef, distribution: Distribution, mesh: Mesh
) -> Inventory:
    """Read everything that the rules need; what istioctl did not tell is unreadable.

    Args:
        config: The settings of the run.
        cluster: The cluster.
        distribution: Istio's istioctl.
        mesh: The facts of the mesh.

    Returns:
        The inventory.

    Raises:
        KubeError: The API server refuses something for another reason than permissions.
    """
    istioctl = istioctl_of(cluster, distribution)
    ours = None if config.ours else (config.namespace, *system_namespaces(mesh))
    with ThreadPoolExecutor(2, thread_name_prefix="audit-istioctl") as pool:
        kube = kube_of(cluster)
        analyzed = pool.submit(analyze_mesh, kube, istioctl, mesh.system_namespace)
        versions = pool.submit(istioctl.version)
        audited = config.audit.namespaces or ours
        inventory = read_inventory(
            kube,
            audited,
            mesh,
            now=datetime.now(UTC),
            certificate_days=config.audit.certificate_days,
        )
        return with_istioctl(inventory, analyzed.result, versions.result, audited)


def with_istioctl(
    inventory: Inventory,
    analyzed: Callable[[], Sequence[Analyzed]],
    versions: Callable[[], MeshVersions],
    namespaces: Sequence[str] | None = None,
) -> Inventory:
    """Add what istioctl tells. Rules that need an answer that did not come can't be judged; the others can.

    Args:
        inventory: What the API server told.
        analyzed: Asks `istioctl analyze`.
        versions: Asks `istioctl version`.
        namespaces: Those that are audited: proxies of others run what their owners choose; None for all.

    Returns:
        The whole inventory.
    """
    lacking, found, running = dict(inventory.unreadable), tuple[Analyzed, ...](), list[str]()
    withheld: dict[str, str] = {}
    try:
        found = tuple(analyzed())
    except SecretsWithheldError as problem:
        withheld[ANALYSIS] = problem.message
    except MeshlabError as problem:
        lacking[ANALYSIS] = problem.message
    try:
        told = versions()
        proxies = [
            version
            for name, version in told.data_plane
            if namespaces is None or name.rpartition(".")[2] in namespaces
        ]
        running = [*(version for _, version in told.control_plane), *proxies]
    except MeshlabError as problem:
        lacking[VERSIONS] = problem.message
    if not running:
        lacking.setdefault(VERSIONS, "istioctl version names no control plane and no proxy")
    versions_seen = tuple(dict.fromkeys(running))
    return replace(inventory, analyzed=found, versions=versions_seen, unreadable=lacking, withheld=withheld)


def prove(
    config: LabConfig, kube: Kube, inventory: Inventory, examined: dict[str, Examined]
) -> dict[str, tuple[Finding, ...]]:
    """Judge each rule's findings by what is accepted, and show them by requests where one can.

    Args:
        config: The settings of the run.
        kube: Client of the cluster.
        inventory: What the rules looked at.
        examined: Rule → what it found.

    Returns:
        Rule → its findings.
    """
    every = judge(
        [finding for one in examined.values() for finding in one.findings],
        acceptances(config, inventory.facts),
        inventory.today,
    )
    prover = Prover(
        kube,
        inventory,
        _caller(kube, config.namespace, SLEEPER.selector),
        _caller(kube, config.namespace, CALLER.selector),
    )
    shown: Sequence[Finding] = prover.prove(every)
    return {rule: tuple(finding for finding in shown if finding.rule == rule) for rule in examined}


def _caller(kube: Kube, namespace: str, selector: str) -> Source | None:
    try:
        return find_source(kube, namespace, selector)
    except KubeError:
        return None  # there is nobody to ask from: findings go without a request
