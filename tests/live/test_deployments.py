"""The four deployments of prefect.yaml, each on a Prefect server of its own: what their runs show is what the record has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.cloud.container_v1.types import Cluster

from meshlab.clusters.gke.names import labels
from tests.fakes.gke.emulator import running
from tests.golden.record import artifacts_in, compare, read, record_of
from tests.live.conftest import NAME, NETWORK, Ran
from tests.live.prefect_side import POOL, Side, serving
from tests.live.test_nightly import accepting, kubeconfig_of
from tests.live.test_sabotage import QUICK

pytestmark = [pytest.mark.live, pytest.mark.long]
EXPIRED = labels("20260101t000000z-aaaa", "somebody", datetime(2026, 1, 2, tzinfo=UTC))
LONGEST = 45 * 60  # seconds for a run of a deployment, on a busy machine


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    """A server with all deployments, and none of their schedules."""
    with serving(tmp_path / "prefect") as found:
        found.prefect("--no-prompt", "work-pool", "create", POOL, "--type", "process")
        found.prefect("--no-prompt", "deploy", "--all")
        found.pause_schedules()
        yield found


def differences(side: Side, record: str, deployment: str, folder: Path, **given: Any) -> list[str]:
    """Run a deployment to its end; how it differs from the record."""
    runs = folder / "runs"
    runs.mkdir()
    config = {
        "history": {"path": str(folder / "history.sqlite")},
        **given.pop("config"),
        "runs_dir": str(runs),
    }
    with side.worker():
        state = side.final(side.start_run(deployment, {"config": config, **given}), timeout=LONGEST)
    assert state["type"] == "COMPLETED", state
    [directory] = runs.iterdir()
    return compare(read(record), record_of(directory, artifacts_in(side.folder / "home")))


def test_the_nightly_deployment(side: Side, kept_lab: Ran, tmp_path: Path) -> None:
    config = accepting(tmp_path / "runs", tmp_path / "history.sqlite")
    where = {"cluster": "existing", "existing": {"kubeconfig": str(kubeconfig_of(kept_lab))}}
    assert (
        differences(
            side, "nightly", "nightly-validation/nightly-validation", tmp_path, config={**config, **where}
        )
        == []
    )


def test_the_sabotage_deployment(side: Side, kept_lab: Ran, tmp_path: Path) -> None:
    config = {"local": {"name": NAME, "network": NETWORK}}
    assert differences(side, "sabotage", "sabotage/sabotage", tmp_path, config=config, only=QUICK) == []


def test_the_lab_deployment(side: Side, tmp_path: Path) -> None:
    config = {"local": {"name": "mldeploy", "network": "10.205"}}
    assert differences(side, "full-lab", "full-lab/full-lab", tmp_path, config=config) == []


def test_the_teardown_deployment_removes_what_has_expired(side: Side, tmp_path: Path) -> None:
    """No record is kept of a teardown: it shows a cluster that has expired, and then that it is gone."""
    with running() as emulator:
        emulator.books.create(
            "projects/p/locations/us-central1-a", Cluster(name="old", resource_labels=EXPIRED)
        )
        settings = emulator.settings(nodes=1).model_dump(mode="json", exclude_defaults=True)
        (tmp_path / "runs").mkdir()
        config = {"cluster": "gke", "gke": settings, "runs_dir": str(tmp_path / "runs")}
        with side.worker():
            run = side.start_run(
                "teardown/teardown-expired", {"config": config, "expired": True, "yes": True}
            )
            state = side.final(run, timeout=LONGEST)
        assert state["type"] == "COMPLETED", state
        assert emulator.books.left() == {}
    [directory] = (tmp_path / "runs").iterdir()
    [check] = json.loads((directory / "result.json").read_text())["checks"]
    assert (check["id"], check["verdict"]) == ("teardown.nothing-left", "pass")
    assert len(check["evidence"]["targets"]) == 1 and check["evidence"]["after"] == []
