"""What a teardown on its own finds, leaves alone, removes and says."""

# ruff: noqa: F401, F811 - fixtures are imported, and their names are parameters

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.cloud.container_v1.types import Cluster

from meshlab.cli.teardown import decide
from meshlab.clusters.gke.cluster import GkeCluster
from meshlab.config.settings import LabConfig, LocalSettings, Machine
from meshlab.core.errors import CloudError, InputError
from meshlab.core.progress import silent
from meshlab.lifecycle import teardown as reaping
from meshlab.run.ledger import Entry, Ledger
from meshlab.run.results import Verdict
from tests.fakes.gke.emulator import Emulator
from tests.fakes.gke.kube import FakeClusterKube
from tests.unit.clusters.gke.conftest import (
    emulator,
    kube,
    machine,
    provider,
    server,
)

RUN, OTHER = "20260101t000000z-aaaa", "20260102t000000z-bbbb"
NOW = datetime.now(UTC)
TOMORROW = NOW + timedelta(days=1)


@pytest.fixture(autouse=True)
def inside(emulator: Emulator, kube: FakeClusterKube, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.clusters.gke.conftest import seams

    monkeypatch.setattr("meshlab.clusters.gke.cluster.seams_of", lambda settings: seams(settings, kube))
    monkeypatch.setattr("meshlab.clusters.gke.reaper.seams_of", lambda settings: seams(settings, kube))


def config(emulator: Emulator, **more: object) -> LabConfig:
    return LabConfig.model_validate({"cluster": "gke", "gke": emulator.settings(), **more})


def die(machine: Machine, run_id: str) -> None:
    """The process of a run is gone."""
    path = machine.state / "ledger" / f"{run_id}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pid": 2**22 - 1, "process_started": 1.0}))


def test_only_what_is_ours_and_past_its_time_is_found_in_all_zones(
    provider: Callable[..., GkeCluster],
    emulator: Emulator,
    machine: Machine,
) -> None:
    provider(RUN, ledger=False, name="here").up()
    provider(
        OTHER, ledger=False, name="there", zone="europe-west1-b", hours_to_live=100, cost_ceiling=99
    ).up()
    emulator.books.create("projects/p/locations/us-central1-a", Cluster(name="foreign"))
    assert reaping.expired(config(emulator), machine, now=NOW).targets == ()
    plan = reaping.expired(config(emulator), machine, now=TOMORROW)
    [target] = plan.targets
    assert (target.run_id, target.settings.name) == (RUN, "here")
    assert [each.split(" ")[0] for each in plan.stay] == [
        "projects/p/locations/europe-west1-b/clusters/there"
    ]
    assert plan.seen == "2 clusters of ours and 1 other in p, all zones"
    reaping.remove(target, machine, silent)
    assert sorted(path.rsplit("/", 1)[-1] for path in emulator.books.clusters) == ["foreign", "there"]


def test_a_label_that_can_not_be_read_condemns_nobody(
    provider: Callable[..., GkeCluster],
    emulator: Emulator,
    machine: Machine,
) -> None:
    provider(ledger=False).up()
    [made] = emulator.books.clusters.values()
    made.resource_labels["meshlab-expires"] = "soon"
    plan = reaping.expired(config(emulator), machine, now=NOW + timedelta(days=9999))
    assert plan.targets == () and "no readable date" in plan.stay[0]


def test_what_a_living_run_of_this_machine_holds_stays(
    provider: Callable[..., GkeCluster],
    emulator: Emulator,
    machine: Machine,
) -> None:
    provider().up()
    plan = reaping.expired(config(emulator), machine, now=TOMORROW)
    assert plan.targets == () and plan.stay[0].endswith("its run still goes on")
    die(machine, RUN)
    assert len(reaping.expired(config(emulator), machine, now=TOMORROW).targets) == 1


def test_with_a_zone_that_does_not_answer_what_was_seen_is_removed_and_the_zone_is_named(
    provider: Callable[..., GkeCluster], emulator: Emulator, machine: Machine
) -> None:
    provider(ledger=False).up()
    emulator.books.missing_zones = ("us-central1-f",)
    again = lambda: reaping.expired(config(emulator), machine, now=TOMORROW)  # noqa: E731
    plan = again()
    [target] = plan.targets
    reaping.remove(target, machine, silent)
    assert emulator.books.left() == {}
    check = reaping.nothing_left(plan, again, acted=True)
    assert check.verdict is Verdict.INFRA_ERROR and "us-central1-f" in str(check.reason)
    assert check.evidence["unanswered"] == ["us-central1-f"] and len(check.evidence["targets"]) == 1


def test_what_has_expired_is_judged_by_googles_clock(
    provider: Callable[..., GkeCluster], emulator: Emulator, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider(ledger=False).up()

    class Fast(datetime):
        """This machine's clock, a day ahead."""

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(UTC) + timedelta(days=1)

    monkeypatch.setattr(reaping, "datetime", Fast)
    plan = reaping.expired(config(emulator), machine)
    assert plan.targets == () and len(plan.stay) == 1, "a living cluster is left alone"
    [told] = plan.told
    assert re.search(r"\+86[34]\d\d s off Google's", told)


def test_an_end_that_cannot_be_read_is_told(
    provider: Callable[..., GkeCluster], emulator: Emulator, machine: Machine
) -> None:
    provider(ledger=False).up()
    [cluster] = emulator.books.clusters.values()
    cluster.resource_labels["meshlab-expires"] = "soon"
    plan = reaping.expired(config(emulator), machine, now=TOMORROW)
    assert plan.targets == () and any("meshlab-expires can't be read" in text for text in plan.told)


def test_labels_that_somebody_took_off_do_not_hide_a_run_s_cluster(
    provider: Callable[..., GkeCluster], emulator: Emulator, machine: Machine
) -> None:
    provider().up()
    [cluster] = emulator.books.clusters.values()
    cluster.resource_labels = {}
    die(machine, RUN)
    again = lambda: reaping.of_runs(config(emulator), machine, [RUN])  # noqa: E731
    plan = again()
    [target] = plan.targets
    reaping.remove(target, machine, silent)
    assert emulator.books.left() == {} and Ledger.of(machine, RUN) is None
    assert reaping.nothing_left(plan, again, acted=True).verdict is Verdict.PASS


def test_a_reaper_tells_a_cluster_without_labels_and_leaves_it_and_its_run_s_teardown_elsewhere_removes_it(
    provider: Callable[..., GkeCluster], emulator: Emulator, machine: Machine
) -> None:
    provider(ledger=False).up()
    [cluster] = emulator.books.clusters.values()
    cluster.resource_labels = {}
    emulator.books.create("projects/p/locations/us-central1-a", Cluster(name="foreign"))
    again = lambda: reaping.expired(config(emulator), machine, now=TOMORROW)  # noqa: E731
    plan = again()
    assert plan.targets == () and plan.seen == "0 clusters of ours and 1 other in p, all zones"
    check = reaping.nothing_left(plan, again, acted=True)
    assert check.verdict is Verdict.FAIL and len(emulator.books.clusters) == 2
    told = (cluster.name, "0.24 USD an hour", f"--run {RUN} --project p")
    assert all(each in check.summary for each in told)
    [target] = reaping.of_runs(config(emulator), machine, [RUN]).targets
    reaping.remove(target, machine, silent)
    assert [each.name for each in emulator.books.clusters.values()] == ["foreign"]


def test_a_dry_run_fails_by_what_it_finds_and_a_real_one_passes_once_it_is_gone(
    provider: Callable[..., GkeCluster],
    emulator: Emulator,
    machine: Machine,
) -> None:
    provider(ledger=False).up()
    plan = reaping.expired(config(emulator), machine, now=TOMORROW)
    again = lambda: reaping.expired(config(emulator), machine, now=TOMORROW)  # noqa: E731
    dry = reaping.nothing_left(plan, again, acted=False)
    assert dry.verdict is Verdict.FAIL and "--yes" in (dry.remedy or "")
    assert "my-istio-cluster" in dry.summary and len(emulator.books.clusters) == 1
    left = reaping.nothing_left(plan, again, acted=True)
    assert left.verdict is Verdict.FAIL and "us-central1-b/clusters/my-istio-cluster" in left.summary
    assert "0.24 USD an hour" in left.summary
    assert "gcloud container clusters delete my-istio-cluster --zone us-central1-b" in (left.remedy or "")
    reaping.remove(plan.targets[0], machine, silent)
    done = reaping.nothing_left(plan, again, acted=True)
    assert (done.verdict, done.summary) == (
        Verdict.PASS,
        "1 found and removed, 0 left; 0 clusters of ours and 0 others in p, all zones",
    )


def test_a_run_is_taken_down_by_its_ledger_and_by_its_label(
    provider: Callable[..., GkeCluster],
    emulator: Emulator,
    machine: Machine,
) -> None:
    provider().up()
    die(machine, RUN)
    nothing_named = LabConfig()
    assert reaping.problems(nothing_named, machine, [RUN], expired=False) == []
    [target] = reaping.of_runs(nothing_named, machine, [RUN]).targets
    reaping.remove(target, machine, silent)
    assert emulator.books.left() == {} and Ledger.of(machine, RUN) is None
    provider(OTHER, ledger=False).up()
    [by_label] = reaping.of_runs(config(emulator), machine, [OTHER]).targets
    reaping.remove(by_label, machine, silent)
    assert emulator.books.left() == {}


def test_a_cluster_that_another_run_took_over_is_left_to_it(
    provider: Callable[..., GkeCluster],
    emulator: Emulator,
    machine: Machine,
) -> None:
    provider().up()
    die(machine, RUN)
    provider(OTHER).up()
    die(machine, OTHER)
    [target] = reaping.of_runs(LabConfig(), machine, [RUN]).targets
    with pytest.raises(CloudError, match=f"stays: run {OTHER} has adopted it") as caught:
        reaping.remove(target, machine, silent)
    assert f"flows.teardown --run {OTHER} --project p" in caught.value.remedy
    [there] = emulator.books.clusters.values()
    assert there.resource_labels["meshlab-run-id"] == OTHER
    assert Ledger.of(machine, RUN) is None, "it answers for the cluster no longer"
    [target] = reaping.of_runs(LabConfig(), machine, [OTHER]).targets  # whose ledger still names it
    reaping.remove(target, machine, silent)
    assert emulator.books.left() == {}


def test_what_can_not_be_removed_by_a_teardown_is_named(machine: Machine, tmp_path: Path) -> None:
    from meshlab.run.journal import create

    ledger = Ledger.open(machine, create(tmp_path, "full-lab", run_id=RUN))
    assert reaping.put_back(LabConfig(), machine, RUN) == []
    assert Ledger.of(machine, RUN) is None, "an empty ledger is closed"
    ledger = Ledger.open(machine, create(tmp_path, "full-lab", run_id=RUN))
    entry = Entry("namespace", "meshlab", "https://kubernetes.example.org")
    ledger.intend(entry)
    assert reaping.put_back(LabConfig(), machine, RUN) == [entry]


def test_a_local_cluster_is_found_by_its_ledger(machine: Machine, tmp_path: Path) -> None:
    from meshlab.run.journal import create

    Ledger.open(machine, create(tmp_path, "full-lab", run_id=RUN)).intend(Entry("cluster", "lab", "local"))
    die(machine, RUN)
    [target] = reaping.of_runs(LabConfig(), machine, [RUN]).targets
    assert (target.settings, target.said) == (LocalSettings(name="lab"), f"local cluster lab of run {RUN}")


def asked(machine: Machine, *words: str) -> tuple[LabConfig, dict]:
    found, chosen = decide(list(words), machine, "About.")
    return found, dict(chosen)


def test_the_command_line(machine: Machine) -> None:
    found, chosen = asked(machine, "--expired", "--project", "p")
    assert (found.gke.project, chosen) == ("p", {"runs": (), "expired": True, "yes": False})
    assert asked(machine, "--expired", "--delete", "--project", "p")[1]["yes"] is True
    assert asked(machine, "--run", RUN, "--run", OTHER, "--project", "p")[1]["runs"] == (RUN, OTHER)


def test_a_teardown_on_a_cluster_of_others_needs_no_istioctl(machine: Machine, tmp_path: Path) -> None:
    from meshlab.run.journal import create

    Ledger.open(machine, create(tmp_path, "nightly-validation", run_id=RUN)).intend(Entry("app", "shop", ""))
    die(machine, RUN)
    found, _ = asked(machine, "--run", RUN, "--cluster", "existing", "--context", "prod")
    assert (found.cluster, found.existing.context) == ("existing", "prod")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "names nothing to take down"),
        (("--expired",), "--project: is needed with --expired"),
        (("--run", RUN), f"--run {RUN}: has no ledger on this machine"),
        (("--run",), "--run: needs a value"),
        (("--run", RUN, "--expired", "--project", "p"), "--run: is one thing, --expired another"),
        (("--expired", "--yess", "--project", "p"), "--yess: is no flag"),
        (("--expired", "--project", "P P"), "string should match pattern"),
    ],
)
def test_bad_input_is_named(machine: Machine, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError) as caught:
        asked(machine, *words)
    assert said in str(caught.value)


def test_a_run_that_goes_on_is_not_taken_down(
    provider: Callable[..., GkeCluster],
    emulator: Emulator,
    machine: Machine,
) -> None:
    provider()
    with pytest.raises(InputError, match=f"--run {RUN}: goes on"):
        asked(machine, "--run", RUN)
