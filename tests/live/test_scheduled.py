"""README's commands as they are written, against a real Prefect server: a night that its own schedule starts, and passes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.live.conftest import ROOT, Ran
from tests.live.prefect_side import Side, serving
from tests.live.test_nightly import LONGEST, accepting, kubeconfig_of

pytestmark = pytest.mark.live
NIGHT = "nightly-validation"


def readme_commands() -> list[list[str]]:
    """The `prefect` commands of README, in order, without their program."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\.venv/bin/prefect (.+?)(?: +#.*)?$", text, re.MULTILINE)
    return [line.split() for line in lines]


def in_two_minutes(folder: Path) -> Path:
    """prefect.yaml as its reader changes it: the night's time, and what is known and accepted of this mesh."""
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    [night] = [each for each in content["deployments"] if each["name"] == NIGHT]
    night["parameters"]["config"] |= accepting(folder / "runs", folder / "history.sqlite")
    at = datetime.now(UTC) + timedelta(minutes=2)
    night["schedules"][0] |= {"cron": f"{at.minute} {at.hour} * * *", "timezone": "Etc/UTC"}
    path = folder / "prefect.yaml"
    path.write_text(yaml.safe_dump({**content, "deployments": [night]}))
    return path


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Side]:
    with serving(tmp_path / "prefect") as found:
        yield found


def test_a_night_is_started_by_its_schedule_and_passes(kept_lab: Ran, deployed: Side, tmp_path: Path) -> None:
    serve, pool, deploy, worker, run = readme_commands()
    assert serve == ["server", "start"] and run[:2] == ["deployment", "run"]
    assert worker[:2] == ["worker", "start"] and "deploy" in deploy
    deployed.prefect(*pool)
    said = deployed.prefect(*deploy)
    for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        assert f"/{each['name']}'" in said
    deployed.pause_schedules()  # this may be the hour of another deployment: its lab would outlive the worker
    deployed.prefect(*deploy[:-1], "--name", NIGHT, "--prefect-file", str(in_two_minutes(tmp_path)))
    with deployed.worker(*worker[2:], KUBECONFIG=str(kubeconfig_of(kept_lab))):
        night = deployed.run_of(NIGHT, timeout=LONGEST + 180, auto_scheduled=True)
    assert night["created_by"]["type"] == "SCHEDULE", night
    assert night["state_type"] == "COMPLETED", night["state"]["message"]
    [directory] = (tmp_path / "runs").iterdir()
    result = json.loads((directory / "result.json").read_text())
    assert result["verdict"] == "pass" and result["flow"] == NIGHT
