"""What Prefect's server is told to tell people: both automations as Prefect reads them, about the deployments that there are."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "deployments" / "automations.yaml").read_text(encoding="utf-8")
AUTOMATIONS: list[dict[str, Any]] = yaml.safe_load(TEXT)["automations"]


@pytest.mark.parametrize("automation", AUTOMATIONS, ids=lambda each: each["name"])
def test_prefect_takes_it_and_it_is_about_nights(automation: dict[str, Any]) -> None:
    assert AutomationCore.model_validate(automation).enabled
    pattern = automation["trigger"]["match_related"]["prefect.resource.name"]
    deployments = [
        each["name"]
        for file in (ROOT / "prefect.yaml", ROOT / "deployments" / "kubernetes" / "prefect.yaml")
        for each in yaml.safe_load(file.read_text())["deployments"]
    ]
    nights = {"nightly-validation", "nightly-validation-job"}
    assert {name for name in deployments if fnmatch.fnmatch(name, pattern)} == nights


@pytest.mark.parametrize("automation", AUTOMATIONS, ids=lambda each: each["name"])
def test_what_is_posted_is_json_whatever_the_state_s_message_holds(automation: dict[str, Any]) -> None:
    [action] = automation["actions"]
    state = SimpleNamespace(name="Failed", message='"quoted"\nand a second line')
    run = SimpleNamespace(name="wise-owl", state=state)
    posted = jinja2.Template(action["payload"]).render(
        deployment=SimpleNamespace(name="nightly-validation"), flow_run=run
    )
    assert json.loads(posted)["text"].startswith("mesh lab: nightly-validation, run wise-owl, is Failed. ")


def test_one_waits_for_what_does_not_come() -> None:
    triggers = [AutomationCore.model_validate(each).trigger for each in AUTOMATIONS]
    postures = [each.posture for each in triggers if isinstance(each, EventTrigger)]
    assert postures == [Posture.Reactive, Posture.Proactive]
