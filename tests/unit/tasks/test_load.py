"""The step of a load test: its image is brought only then, its warm-up kept apart, its numbers written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshlab.app.load import Sender
from meshlab.app.load_result import LoadResult, combine
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.config.settings_load import LoadProfile
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import RunRef, create, read_journal
from meshlab.run.result_file import finish
from tasks import load
from tests.fakes.kube import FakeKube
from tests.unit.app.fortio import result
from tests.unit.run.test_result_file import written

CLUSTER = ClusterRef("local", "x", Path("kubeconfig"), "x")


def asked_for(**settings: Any) -> LabConfig:
    return LabConfig.model_validate({"load": {"profile": "50,4,2s", **settings}})


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    machine = Machine.here({"HOME": str(tmp_path)})
    return begin_context(create(tmp_path / "runs", "full-lab"), asked_for(), machine).run


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sender, LoadProfile]]:
    found: list[tuple[Sender, LoadProfile]] = []

    def run_load(
        kube: Any, changes: Any, config: Any, sender: Sender, profile: LoadProfile, images: Any, **_: Any
    ) -> LoadResult:
        assert images == ("localhost/meshlab/fortio:1",)
        found.append((sender, profile))
        return combine(profile, [result([(0.02, 0.025, 100 if len(found) > 1 else 7)])])

    monkeypatch.setattr(load, "run_load", run_load)
    monkeypatch.setattr(load, "kube_of", lambda _: FakeKube())
    monkeypatch.setattr(load, "bring_image", lambda *_: ("localhost/meshlab/fortio:1",))
    return found


def test_the_warm_up_is_kept_apart_and_the_numbers_are_in_the_result(
    run: RunRef, sent: list[tuple[Sender, LoadProfile]]
) -> None:
    found = load.send_load.fn(run, asked_for(pods=2), CLUSTER)
    assert [(each.name, each.pods, profile.seconds) for each, profile in sent] == [
        ("meshlab-load-warmup", 2, 5),
        ("meshlab-load", 2, 2),
    ]
    finish(run)
    told = written(run)["load"]
    assert (told["requests"], told["warmup"]["requests"], found.requests) == (100, 7, 100)
    assert (told["asked_rate"], told["reached_rate"], told["saturated"]) == (50, 50, False)
    measures = {each["name"]: each["value"] for each in written(run)["measures"]}
    assert measures["load-rate"] == 50 and measures["load-errors"] == 0 and 20 < measures["load-p99"] < 25


def test_what_a_step_that_ran_again_has_found_counts_as_a_whole(
    run: RunRef, sent: list[tuple[Sender, LoadProfile]]
) -> None:
    load.send_load.fn(run, asked_for(), CLUSTER)
    load.send_load.fn(run, asked_for(warmup_seconds=0), CLUSTER)
    finish(run)
    assert "warmup" not in written(run)["load"] and len(sent) == 3


def test_without_load_there_is_no_step(run: RunRef, sent: list[tuple[Sender, LoadProfile]]) -> None:
    assert load.measure_load(run, LabConfig(), CLUSTER) is None
    assert sent == [] and not [each for each in read_journal(run) if each["event"] == "step"]
