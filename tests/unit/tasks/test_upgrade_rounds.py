"""Rounds of an upgrade: what makes one red, whose proxies count, and the budget's last look before the way back ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meshlab.app.budget import RequestBook
from meshlab.app.loop import Request
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import IstioError
from meshlab.faults.fault import GROUPS as MADE_BY
from meshlab.istio.distribution import Distribution
from meshlab.istio.istioctl import ProxyStatus
from meshlab.istio.mesh import Mesh
from meshlab.istio.upgrade import MOVED, UpgradePlan
from meshlab.lifecycle import resume
from meshlab.lifecycle.context import begin_context, context_of
from meshlab.run.journal import RunRef, create, read_journal, record_check
from meshlab.run.ledger import Entry
from meshlab.run.results import CheckResult, Verdict
from tasks import sabotage, upgrade_rounds
from tasks.sabotage import Lab
from tasks.upgrade_rounds import GROUPS, SYNCED, check_round, judge_moved, last_look, settled
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube, make_pod

CLUSTER = ClusterRef("existing", "c", Path("kubeconfig"))
ISTIO = Distribution("embedded", Path("istioctl"), "1.31.0", Path("samples"))
CONFIG = LabConfig.model_validate(
    {"cluster": "existing", "allow_changes": True, "app": {"namespace": "shop"}}
)
OLD, NEW = "default", "1-31-0"
PLAN = UpgradePlan("home", OLD, "1.30.0", NEW, "1.31.0", (), (), ())
OWED = [check for group in GROUPS for check in MADE_BY[group]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return begin_context(create(tmp_path / "runs", "upgrade"), CONFIG, Machine.here()).run


class World:
    """A cluster in memory and checks that say what they are told to.

    verdicts: id → verdict of those that are made. statuses: what istiod tells of proxies. broken: the error budget is.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run: RunRef) -> None:
        self.kube = FakeKube()
        self.verdicts = dict.fromkeys(OWED, Verdict.PASS)
        self.statuses: list[ProxyStatus] = []
        self.made = 0
        self.broken = False
        context_of(run).read_mesh_again = lambda _: Mesh("shop")  # type: ignore[method-assign]
        monkeypatch.setattr(sabotage, "halt_load", lambda *_: None)
        monkeypatch.setattr(upgrade_rounds, "kube_of", lambda _: self.kube)
        monkeypatch.setattr(upgrade_rounds, "istioctl_of", lambda *_: None)
        monkeypatch.setattr(upgrade_rounds, "check_groups", self.make)
        monkeypatch.setattr(upgrade_rounds, "check_budget", self.budget)
        monkeypatch.setattr(upgrade_rounds, "wait_synced", lambda *_, **__: ())
        monkeypatch.setattr(upgrade_rounds, "proxy_statuses", lambda *_: tuple(self.statuses))

    def make(self, probe_run: RunRef, lab: Lab, groups: tuple[str, ...]) -> None:
        assert groups == GROUPS
        self.made += 1
        for check_id, verdict in self.verdicts.items():
            record_check(probe_run, CheckResult(check_id, check_id, verdict, "seen", asked_for=True))

    def budget(self, run: RunRef) -> None:
        if self.broken:
            raise IstioError("the error budget is broken")

    def proxy(self, name: str, namespace: str, revision: str, *, error: str = "", phase: str = "") -> None:
        pod = make_pod(name, namespace=namespace)
        pod["metadata"]["annotations"] = {"istio.io/rev": revision}
        if phase:
            pod["status"]["phase"] = phase
        else:
            types = {"CDS": "SYNCED", "LDS": "ERROR" if error else "SYNCED"}
            errors = {"LDS": error} if error else {}
            self.statuses.append(ProxyStatus(f"{name}.{namespace}", namespace, "1.31.0", types, errors))
        self.kube.put(pod)

    def round(self, run: RunRef, name: str = "side-by-side") -> None:
        check_round(run, CONFIG, CLUSTER, ISTIO, PLAN, name)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, run: RunRef) -> World:
    return World(monkeypatch, run)


def steps(run: RunRef) -> list[str]:
    return [each["state"] for each in read_journal(run) if each["event"] == "step"]


def test_a_round_is_green_where_every_check_passed_or_was_skipped(run: RunRef, world: World) -> None:
    world.verdicts["istio.analyze"] = Verdict.SKIPPED
    world.round(run)
    assert steps(run) == ["started", "done"] and world.made == 1


@pytest.mark.parametrize("lost", OWED)
def test_a_check_that_was_not_made_is_red(run: RunRef, world: World, lost: str) -> None:
    del world.verdicts[lost]
    with pytest.raises(IstioError, match=f"1 checks are red.*{lost}"):
        world.round(run)
    assert steps(run) == ["started", "failed"]


def test_a_family_that_was_never_made_is_red(run: RunRef, world: World) -> None:
    """As where istiod can't be asked for the facts of the mesh: the application's four checks are green."""
    world.verdicts = dict.fromkeys(MADE_BY["app"], Verdict.PASS)
    with pytest.raises(IstioError, match=f"{len(MADE_BY['istio'])} checks are red"):
        world.round(run)


def test_a_red_check_and_a_budget_that_broke_meanwhile_end_a_round(run: RunRef, world: World) -> None:
    world.verdicts["app.productpage"] = Verdict.INFRA_ERROR
    with pytest.raises(IstioError, match=r"app\.productpage"):
        world.round(run)
    world.verdicts["app.productpage"], world.broken = Verdict.PASS, True
    with pytest.raises(IstioError, match="budget"):
        world.round(run)


def test_a_rejected_configuration_in_a_moved_namespace_of_others_is_red(run: RunRef, world: World) -> None:
    world.proxy("web", "shop", NEW)
    world.proxy("ledger", "bank", NEW, error="rejected")
    with pytest.raises(IstioError, match=r"istio\.proxies-synced.*ledger\.bank"):
        world.round(run)


def test_what_is_not_moved_and_what_has_ended_is_told_only(run: RunRef, world: World) -> None:
    world.proxy("web", "shop", NEW)
    world.proxy("other", "zoo", OLD, error="rejected")
    world.proxy("job", "bank", NEW, phase="Succeeded")
    world.round(run)


def test_a_moved_proxy_that_istiod_does_not_know_is_red(run: RunRef, world: World) -> None:
    world.proxy("gateway", "home", NEW)
    world.statuses.clear()
    check = judge_moved(run, Lab(CONFIG, CLUSTER, ISTIO), Mesh("shop"), PLAN)
    assert check is not None and (check.id, check.verdict) == (SYNCED, Verdict.FAIL)
    assert "gateway.home" in str(check.reason)


def test_before_the_first_move_there_is_nothing_to_add(run: RunRef, world: World) -> None:
    world.proxy("web", "shop", OLD)
    assert judge_moved(run, Lab(CONFIG, CLUSTER, ISTIO), Mesh("shop"), PLAN) is None


def test_a_round_that_was_finished_holds_unless_it_is_doubted(run: RunRef, world: World) -> None:
    world.round(run)
    resume.begin(run)
    world.round(run)
    assert world.made == 1
    resume.begin(run, "round-side-by-side")
    world.round(run)
    assert world.made == 2


def test_the_round_before_the_point_of_no_return_is_made_by_each_life(run: RunRef, world: World) -> None:
    context_of(run).ledger.intend(Entry(MOVED, "shop", "here", "{}"))
    world.round(run, "all-moved")
    resume.begin(run)
    del world.verdicts["app.productpage"]  # what the life before saw is not taken for it
    with pytest.raises(IstioError, match=r"app\.productpage: it was not made"):
        world.round(run, "all-moved")
    assert sorted(each.name for each in (run.evidence / "rounds").iterdir()) == ["all-moved", "all-moved.1"]


def test_past_the_point_of_no_return_it_holds(run: RunRef, world: World) -> None:
    world.round(run, "all-moved")
    resume.begin(run)
    world.round(run, "all-moved")
    assert world.made == 1


# ── the last look


def test_an_old_proxy_that_came_back_meanwhile_keeps_the_old_revision(run: RunRef, world: World) -> None:
    book(run).add(sent(1000))
    assert last_look.fn(run, CLUSTER, PLAN).requests == 1000
    world.proxy("web", "shop", OLD)
    with pytest.raises(IstioError, match="shop/web"):
        last_look.fn(run, CLUSTER, PLAN)


def sent(count: int, failed: int = 0) -> list[Request]:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Request(number, "503" if number < failed * 2 and number % 2 else "200", 10.0,
                begin + timedelta(seconds=number), 0)
        for number in range(count)
    ]  # fmt: skip


def book(run: RunRef) -> RequestBook:
    return RequestBook(run.evidence / upgrade_rounds.FILE)


def sending(run: RunRef, each: int) -> Callable[[float], Any]:
    """A client that sends so many requests while somebody sleeps."""
    requests = book(run)
    return lambda _: requests.add(sent(each))


def test_one_failure_of_a_few_requests_is_judged_when_enough_were_sent(run: RunRef, world: World) -> None:
    book(run).add(sent(958, failed=1))
    clock = FakeClock(on_sleep=sending(run, 50))
    spent = settled(run, clock=clock)
    assert (spent.requests, spent.failed) == (1008, 1)


def test_where_too_few_are_sent_it_is_judged_as_at_the_end(run: RunRef, world: World) -> None:
    book(run).add(sent(958, failed=1))
    with pytest.raises(IstioError, match="1 of 958"):
        settled(run, clock=FakeClock())


def test_without_a_failure_it_goes_on_after_two_minutes_however_little_was_sent(
    run: RunRef, world: World
) -> None:
    book(run).add(sent(100))
    clock = FakeClock()
    assert settled(run, clock=clock).requests == 100
    assert clock.time == upgrade_rounds.SETTLED_WITHIN


def test_a_budget_that_breaks_meanwhile_ends_the_wait(run: RunRef, world: World) -> None:
    world.broken = True
    clock = FakeClock()
    with pytest.raises(IstioError, match="budget"):
        settled(run, clock=clock)
    assert clock.time == 0


def test_nothing_sent_is_no_budget_that_held(run: RunRef, world: World) -> None:
    with pytest.raises(IstioError, match="no request"):
        settled(run, clock=FakeClock())
