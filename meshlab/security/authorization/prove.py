"""The truth table made: expected answers from the policies in the cluster, observed ones by request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from meshlab.app.deployment import with_images
from meshlab.app.room import own_policies
from meshlab.app.source import Source
from meshlab.config.settings import LabConfig
from meshlab.istio.acknowledge import wait_acknowledged
from meshlab.istio.drained import wait_drained
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh as Facts
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary
from meshlab.kube.rollout import wait_deployments
from meshlab.security.authorization import parse
from meshlab.security.authorization.cases import SERVICES, Case, Client, Service, cases
from meshlab.security.authorization.cluster import Target, find_targets, read_mesh, request_of, served_api
from meshlab.security.authorization.evaluate import decide_all
from meshlab.security.authorization.lab import client_documents, find_clients, policy_documents
from meshlab.security.authorization.model import Decision, Mesh, Outcome
from meshlab.security.authorization.observe import Ask, Observation, observe, url_of
from meshlab.security.authorization.table import IN_A_ROW, Row, TruthTable, coverage
from meshlab.security.authorization.tokens import Issued, Issuer, run_tokens

Decisions = Mapping[Case, Decision]


@dataclass(frozen=True)
class Scene:
    """Who asks whom, from which pods, with which tokens. The tokens' texts stay out of its representation."""

    namespace: str
    clients: Mapping[str, Client]
    sources: Mapping[str, Source]
    targets: Mapping[str, Target]
    tokens: Mapping[str, Issued]

    @property
    def cases(self) -> tuple[Case, ...]:
        """Every cell."""
        return cases(self.clients.values(), [target.service for target in self.targets.values()])

    def decisions(self, mesh: Mesh, *, now: float) -> Decisions:
        """What the policies say about every cell. now: seconds since the epoch."""
        told = {name: issued.token for name, issued in self.tokens.items()}
        found = {}
        for case in self.cases:
            target = self.targets[case.service]
            client = self.clients[case.client]
            request = request_of(case, client, target, told, cluster_domain=mesh.cluster_domain)
            found[case] = decide_all(mesh, target.workloads, request, now=now)
        return found

    def ask(self, kube: Kube, wanted: Sequence[Case]) -> list[tuple[Case, Observation]]:
        """Send one request for each case, in this order.

        Args:
            kube: Client of the cluster.
            wanted: The cases.

        Returns:
            Each case with what it met.

        Raises:
            ExecError: A round can't be made.
            KubeError: The API refuses a command.
        """
        asks = [
            Ask(
                case,
                url_of(
                    case, self.clients[case.client], self.namespace, self.targets[case.service].service.port
                ),
                self.tokens[case.token].text if case.token else None,
            )
            for case in wanted
        ]
        return observe(kube, self.sources, asks)


@dataclass(frozen=True)
class Control:
    """The same requests without the policies of ours: what was expected of them, and what they met."""

    decisions: Decisions
    observed: Mapping[Case, Observation]


@dataclass(frozen=True)
class Proof:
    """The table, the policies that it was made with (as applied), and seconds by part."""

    table: TruthTable
    mesh: Mesh
    seconds: Mapping[str, float]


def take_control(kube: Kube, scene: Scene, mesh: Mesh) -> Control:
    """Ask everything once, as the mesh is. Raises ExecError, KubeError."""
    return Control(scene.decisions(mesh, now=time.time()), dict(scene.ask(kube, scene.cases)))


def make_table(
    kube: Kube, scene: Scene, mesh: Mesh, control: Control, meant: Mesh | None = None
) -> TruthTable:
    """Ask every cell once, and two more times those that should be refused; compare.

    The proxies must have acknowledged the policies in `mesh`. meant: the policies as they should be. Raises
    ExecError, KubeError.
    """
    now = time.time()
    decisions = scene.decisions(mesh, now=now)
    wanted = scene.decisions(meant, now=now) if meant else {}
    refused = [
        case
        for case, decision in decisions.items()
        if decision.outcome not in (Outcome.ALLOW, Outcome.UNKNOWN)
    ]
    observed: dict[Case, list[Observation]] = {case: [] for case in decisions}
    for case, seen in scene.ask(kube, [*decisions, *refused * (IN_A_ROW - 1)]):
        observed[case].append(seen)
    rows = tuple(
        Row(
            case,
            control.decisions[case],
            control.observed[case],
            decision,
            tuple(observed[case]),
            wanted.get(case),
        )
        for case, decision in decisions.items()
    )
    workloads = [one for target in scene.targets.values() for one in target.workloads]
    return TruthTable(rows, coverage(mesh, workloads, list(decisions.values())))


@dataclass(frozen=True)
class Stage:
    """A scene that is set. mesh: as it was found. issuer: of the scene's tokens. api: of security objects. facts: of the mesh."""

    scene: Scene
    mesh: Mesh
    issuer: Issuer
    api: str
    facts: Facts

    @property
    def pods(self) -> list[PodSummary]:
        """Those whose proxies judge."""
        return [pod for target in self.scene.targets.values() for pod in target.pods]


def set_stage(
    kube: Kube,
    config: LabConfig,
    changes: Changes,
    facts: Facts,
    *,
    images: Sequence[str] = (),
    services: Sequence[Service] = SERVICES,
) -> Stage:
    """Bring the callers up that are missing, and find all who take part.

    facts: of the mesh that serves the namespace. images: references of ours; looked up in the cluster when
    not given. Raises KubeError, RolloutError, WaitTimeout.
    """
    api = served_api(kube)
    documents = with_images(kube, config, client_documents(config.namespace), images)
    changes.apply(*documents)
    names = [each["metadata"]["name"] for each in documents]
    wait_deployments(kube, config.namespace, names, timeout=config.app.rollout_timeout)
    mesh = read_mesh(kube, api, facts)
    issuer = Issuer()
    clients, sources = find_clients(kube, config, mesh, facts)
    scene = Scene(
        config.namespace,
        {one.name: one for one in clients},
        sources,
        {one.service.name: one for one in find_targets(kube, config.namespace, services)},
        run_tokens(issuer, now=time.time()),
    )
    return Stage(scene, mesh, issuer, api, facts)


def enforce(
    kube: Kube, istioctl: Istioctl, changes: Changes, stage: Stage, documents: Sequence[Mapping[str, Any]]
) -> Mesh:
    """Apply policies, and return what is in the cluster then, once the proxies judge every request by it."""
    changes.apply(*documents)
    for own in own_policies(kube, stage.scene.namespace):  # it allowed what these policies are to refuse
        changes.delete(own)
    wait_acknowledged(kube, istioctl, stage.pods)
    wait_drained(kube, stage.pods)  # else a kept connection would be judged by what was before
    return read_mesh(kube, stage.api, stage.facts)


def meant_by(documents: Sequence[Mapping[str, Any]], found: Mesh, *, managed: bool) -> Mesh:
    """Say what the policies of ours mean by themselves. Mutual TLS is taken as it is found.

    managed: whether the cluster is ours; if not, the policies of its root namespace are meant too.
    """
    kinds = ("AuthorizationPolicy", "RequestAuthentication")
    own = parse.mesh(*([each for each in documents if each["kind"] == kind] for kind in kinds))
    root = () if managed else (found.root_namespace,)
    return replace(
        found,
        policies=(*own.policies, *(one for one in found.policies if one.target.namespace in root)),
        authentications=(
            *own.authentications,
            *(one for one in found.authentications if one.target.namespace in root),
        ),
    )


def prove(
    kube: Kube,
    istioctl: Istioctl,
    config: LabConfig,
    changes: Changes,
    facts: Facts,
    *,
    images: Sequence[str] = (),
) -> Proof:
    """Make the whole stage: callers, control, policies, acknowledgement, requests. What it applies, `changes` undoes.

    Args:
        kube: Client of the cluster.
        istioctl: The istioctl of the run.
        config: The settings of the run.
        changes: Puts everything back; that is its owner's to do.
        facts: Of the mesh that serves the namespace.
        images: References of our images; looked up in the cluster when not given.

    Returns:
        The table, its policies, and seconds by part.

    Raises:
        KubeError: The API refuses something.
        ExecError: A round of requests can't be made.
        RolloutError: A caller does not start.
        WaitTimeout: The proxies do not take the policies in time.
        IstioError: No proxy can be waited for.
    """
    seconds: dict[str, float] = {}
    clock = _Watch(seconds)
    stage = set_stage(kube, config, changes, facts, images=images)
    clock("callers")
    control = take_control(kube, stage.scene, stage.mesh)
    clock("control")
    documents = policy_documents(
        facts,
        issuer=stage.issuer.name,
        jwks=stage.issuer.jwks(),
        api_version=stage.api,
    )
    mesh = enforce(kube, istioctl, changes, stage, documents)
    clock("policies")
    table = make_table(kube, stage.scene, mesh, control, meant_by(documents, mesh, managed=config.ours))
    clock("requests")
    return Proof(table, mesh, seconds)


class _Watch:
    """Notes how long each part took."""

    def __init__(self, into: dict[str, float], now: Callable[[], float] = time.monotonic) -> None:
        self._into, self._now, self._last = into, now, now()

    def __call__(self, part: str) -> None:
        here = self._now()
        self._into[part] = round(here - self._last, 2)
        self._last = here
