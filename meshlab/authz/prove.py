"""The truth table made: expected answers from the policies in the cluster, observed ones by request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from meshlab.authz.cases import SERVICES, Case, Client, Service, cases
from meshlab.authz.cluster import Target, find_targets, read_mesh, request_of, served_api
from meshlab.authz.evaluate import decide_all
from meshlab.authz.lab import client_documents, find_clients, images_of, policy_documents
from meshlab.authz.model import Decision, Mesh, Outcome
from meshlab.authz.observe import Ask, Observation, observe, url_of
from meshlab.authz.table import IN_A_ROW, Row, TruthTable, coverage
from meshlab.authz.tokens import Issued, Issuer, run_tokens
from meshlab.istio.acknowledge import wait_acknowledged
from meshlab.istio.drained import wait_drained
from meshlab.istio.istioctl import Istioctl
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.kube.rollout import wait_deployments
from meshlab.settings import LabConfig
from meshlab.traffic.source import Source

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
            request = request_of(case, self.clients[case.client], target, told)
            found[case] = decide_all(mesh, target.workloads, request, now=now)
        return found

    def ask(self, kube: Kube, wanted: Sequence[Case]) -> list[tuple[Case, Observation]]:
        """One request for each, in this order. Raises ExecError, KubeError."""
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


def make_table(kube: Kube, scene: Scene, mesh: Mesh, control: Control) -> TruthTable:
    """Ask every cell once, and two more times those that should be refused; compare. The proxies must have
    acknowledged the policies in `mesh`. Raises ExecError, KubeError."""
    decisions = scene.decisions(mesh, now=time.time())
    refused = [
        case
        for case, decision in decisions.items()
        if decision.outcome not in (Outcome.ALLOW, Outcome.UNKNOWN)
    ]
    observed: dict[Case, list[Observation]] = {case: [] for case in decisions}
    for case, seen in scene.ask(kube, [*decisions, *refused * (IN_A_ROW - 1)]):
        observed[case].append(seen)
    rows = tuple(
        Row(case, control.decisions[case], control.observed[case], decision, tuple(observed[case]))
        for case, decision in decisions.items()
    )
    workloads = [one for target in scene.targets.values() for one in target.workloads]
    return TruthTable(rows, coverage(mesh, workloads, list(decisions.values())))


def prove(
    kube: Kube,
    istioctl: Istioctl,
    config: LabConfig,
    changes: Changes,
    *,
    images: Sequence[str] = (),
    services: Sequence[Service] = SERVICES,
) -> Proof:
    """The whole stage: callers, control, policies, acknowledgement, requests. What it applies, `changes` undoes.

    Raises KubeError, ExecError, RolloutError, WaitTimeout, IstioError.
    """
    seconds: dict[str, float] = {}
    clock = _Watch(seconds)
    api = served_api(kube)
    documents = client_documents(config.namespace, config, images_of(kube, config, images))
    changes.apply(*documents)
    wait_deployments(
        kube,
        config.namespace,
        [each["metadata"]["name"] for each in documents],
        timeout=config.app.rollout_timeout,
    )
    clock("clients")
    before = read_mesh(kube, api)
    issuer = Issuer()
    clients, sources = find_clients(kube, config, before)
    targets = find_targets(kube, config.namespace, services)
    scene = Scene(
        config.namespace,
        {one.name: one for one in clients},
        sources,
        {one.service.name: one for one in targets},
        run_tokens(issuer, now=time.time()),
    )
    control = take_control(kube, scene, before)
    clock("control")
    changes.apply(
        *policy_documents(config.namespace, before, issuer=issuer.name, jwks=issuer.jwks(), api_version=api)
    )
    pods = [pod for target in targets for pod in target.pods]
    wait_acknowledged(kube, istioctl, pods)
    clock("policies")
    wait_drained(kube, pods)  # else a kept connection would be judged by what was before
    clock("drained")
    mesh = read_mesh(kube, api)
    table = make_table(kube, scene, mesh, control)
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
