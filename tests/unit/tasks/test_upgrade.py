"""The steps of an upgrade on a cluster in memory: what they trust, what they refuse, and that all is taken back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from meshlab.app.upgrade_client import client_namespace
from meshlab.cli import upgrade as cli
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import InputError, IstioError, KubeError
from meshlab.istio.control_plane import control_planes
from meshlab.istio.distribution import Distribution
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.revision import proxies_of_revision
from meshlab.istio.upgrade import MOVED, UpgradePlan, intend_revision, move, owes, plan_upgrade
from meshlab.lifecycle.context import begin_context, context_of
from meshlab.run.journal import RunRef, create, read_journal
from meshlab.run.ledger import Entry, Ledger
from meshlab.run.results import Verdict
from tasks import upgrade, upgrade_rollback
from tasks.upgrade import (
    Moved,
    judge_upgrade,
    list_old_revision,
    none_of_the_old,
    retire_old_revision,
    still_moved,
)
from tasks.upgrade_rollback import check_upgrade, roll_back, rolling_back
from tests.fakes.clock import FakeClock
from tests.fakes.istioctl import FakeIstioctl, Said
from tests.fakes.rollout import RollingMesh, control_plane, two_namespaces

CLUSTER = ClusterRef("existing", "c", Path("kubeconfig"))
ISTIO = Distribution("embedded", Path("istioctl"), "1.31.0", Path("samples"))
CONFIG = LabConfig.model_validate(
    {"cluster": "existing", "allow_changes": True, "app": {"namespace": "shop"}}
)
NEW, VERSIONS = "1-31-0", {"default": "1.30.0", "1-31-0": "1.31.0"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return begin_context(create(tmp_path / "runs", "upgrade"), CONFIG, Machine.here()).run


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> RollingMesh:
    mesh = two_namespaces()
    said = FakeIstioctl({"tag": Said(), "uninstall": Said("done")})
    for module in (upgrade, upgrade_rollback):
        monkeypatch.setattr(module, "kube_of", lambda _: mesh)
        monkeypatch.setattr(module, "istioctl_of", lambda *_: Istioctl(Path("istioctl"), runner=said))
    monkeypatch.setattr(
        upgrade_rollback,
        "list_proxies",
        lambda *_: [
            upgrade_rollback.Proxy(name, revision, version)
            for revision, version in VERSIONS.items()
            for name in proxies_of_revision(mesh, revision)  # type: ignore[arg-type]
        ],
    )
    context = upgrade.context_of

    def without_facts(run: RunRef):
        found = context(run)
        found.read_mesh_again = lambda _: None  # type: ignore[method-assign,assignment,return-value]
        return found

    for module in (upgrade, upgrade_rollback):
        monkeypatch.setattr(module, "context_of", without_facts)
    mesh.commands = said.commands  # type: ignore[attr-defined]
    return mesh


def half_way(run: RunRef, mesh: RollingMesh, *, namespaces: int = 1) -> UpgradePlan:
    """The new revision is installed, and so many namespaces are moved."""
    plan = plan_upgrade(mesh, control_planes(mesh)[0], "1.31.0")
    ledger = context_of(run).ledger
    intend_revision(mesh, ledger, plan)
    for each in control_plane(NEW, "1.31.0"):
        mesh.put(each)
    for one in plan.moves[:namespaces]:
        move(mesh, ledger, one, plan.new, timeout=30, clock=FakeClock())
    return plan


def checks(run: RunRef) -> dict[str, str]:
    return {each["id"]: each["verdict"] for each in read_journal(run) if each["event"] == "check"}


def test_a_roll_back_takes_all_back_and_proves_it(run: RunRef, mesh: RollingMesh) -> None:
    plan = half_way(run, mesh)
    check = roll_back.fn(run, CONFIG, CLUSTER, ISTIO, plan, "a check is red")
    assert check.verdict is Verdict.PASS and check.evidence["cause"] == "a check is red"
    assert checks(run) == {"upgrade.versions": "fail", "upgrade.rollback": "pass"}
    assert len(proxies_of_revision(mesh, "default")) == 3 and not owes(context_of(run).ledger)
    assert rolling_back(run) == "a check is red"


def test_a_roll_back_that_is_cut_off_goes_on_with_its_first_cause_and_control(
    run: RunRef, mesh: RollingMesh
) -> None:
    plan = half_way(run, mesh)

    def refuse(verb: str, kind: str, name: str) -> None:
        if verb == "delete":
            raise KubeError("the API server is away")

    mesh.refuse = refuse
    with pytest.raises(KubeError):
        roll_back.fn(run, CONFIG, CLUSTER, ISTIO, plan, "a check is red")
    assert checks(run)["upgrade.rollback"] == "fail" and owes(context_of(run).ledger)
    mesh.refuse = lambda *_: None
    check = roll_back.fn(run, CONFIG, CLUSTER, ISTIO, plan, "something else")
    assert check.verdict is Verdict.PASS and check.evidence["cause"] == "a check is red"
    assert check.evidence["new_before"]["Deployment"] == 1


def test_the_old_revision_is_retired_by_tag_label_and_removal(run: RunRef, mesh: RollingMesh) -> None:
    plan = half_way(run, mesh, namespaces=2)
    before = list_old_revision.fn(run, CONFIG, CLUSTER, plan)
    assert before["Deployment"] == ("istio-system/istiod",)
    removal = retire_old_revision.fn(run, CONFIG, CLUSTER, ISTIO, plan)
    words = [command[1:4] for command in mesh.commands]  # type: ignore[attr-defined]
    assert words == [("tag", "set", "default"), ("uninstall", "--revision=default", "--skip-confirmation")]
    assert not any(removal.after.values()) and not owes(context_of(run).ledger)
    assert check_upgrade.fn(run, CONFIG, CLUSTER, ISTIO, plan, before).verdict is Verdict.PASS
    assert checks(run) == {"upgrade.rollback": "skipped", "upgrade.versions": "pass"}


def test_an_old_revision_with_proxies_is_not_retired(run: RunRef, mesh: RollingMesh) -> None:
    plan = half_way(run, mesh)
    with pytest.raises(IstioError, match="shop/"):
        list_old_revision.fn(run, CONFIG, CLUSTER, plan)


def test_a_moved_namespace_is_trusted_while_its_label_and_its_proxies_say_so(
    run: RunRef, mesh: RollingMesh
) -> None:
    half_way(run, mesh)
    assert still_moved(mesh, CONFIG, Moved("bank", NEW, "default")) == ""
    assert "revision" in still_moved(mesh, CONFIG, Moved("shop", NEW, "default"))
    mesh.patch("v1", "Namespace", "shop", {"metadata": {"labels": {"istio.io/rev": NEW}}})
    assert "shop/web-1" in still_moved(mesh, CONFIG, Moved("shop", NEW, "default"))
    assert "shop/web-1" in none_of_the_old(mesh, CONFIG, Moved("shop", NEW, "default"))


def test_the_client_of_a_life_before_is_moved_back_like_any_namespace(run: RunRef, mesh: RollingMesh) -> None:
    plan = half_way(run, mesh)
    home = client_namespace(CONFIG)
    content = json.dumps({"before": {"istio-injection": "enabled", "istio.io/rev": None}})
    context_of(run).ledger.intend(Entry(MOVED, home, mesh.host, content))
    assert roll_back.fn(run, CONFIG, CLUSTER, ISTIO, plan, "x").verdict is Verdict.PASS
    assert Ledger.open(Machine.here(), run).entries() == ()


def test_what_an_upgrade_may_not_change_and_whom_it_can_not_ask_is_said_before() -> None:
    judge_upgrade(CONFIG)
    for config in ({"cluster": "existing"}, {"cluster": "gke"}):
        with pytest.raises(InputError):
            judge_upgrade(LabConfig.model_validate(config))
    assert [each.where for each in cli.judge(LabConfig(cluster="existing"), {})] == ["--cluster existing"]


@pytest.mark.parametrize(("said", "yes"), [("y\n", True), ("yes\n", True), ("n\n", False), ("\n", False)])
def test_a_question_on_the_terminal(said: str, yes: bool) -> None:
    reading, writing = os.pipe()
    os.write(writing, said.encode())
    with os.fdopen(reading) as answers:
        assert (cli.confirm("go on?", answers, timeout=5) == "") is yes
    os.close(writing)


def test_no_answer_is_a_no() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as answers:
        assert "nobody answered" in cli.confirm("go on?", answers, timeout=0)
    os.close(writing)
