"""prefect.yaml, loaded as a worker loads it: an import error would else hide behind a placeholder until the first run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ParameterTypeError
from prefect.flows import load_flow_from_entrypoint

from meshlab.config.loader import keys
from meshlab.config.settings import LabConfig

ROOT = Path(__file__).parents[2]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_a_worker_can_load_it_and_its_parameters_fit(
    deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    assert deployment["name"].startswith(flow.name)
    assert flow.validate_parameters(deployment["parameters"]) is not None
    assert set(deployment["parameters"]) <= set(flow.parameters.properties)
    assert deployment["description"] and deployment["tags"]
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


def test_what_runs_by_itself_has_a_valid_time_in_a_named_zone() -> None:
    scheduled = {each["name"]: each.get("schedules", []) for each in DEPLOYMENTS}
    for schedule in [one for schedules in scheduled.values() for one in schedules]:
        assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
        assert "/" in schedule["timezone"] and schedule["slug"] and isinstance(schedule["active"], bool)
    assert scheduled["full-lab"] == []
    assert [len(scheduled[name]) for name in ("nightly-validation", "sabotage", "teardown-expired")] == [
        1,
        1,
        1,
    ]


def test_a_night_makes_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    [nightly] = [each for each in DEPLOYMENTS if each["name"] == "nightly-validation"]
    assert LabConfig.model_validate(nightly["parameters"]["config"]).scope == "namespace"


def test_no_secret_is_a_parameter() -> None:
    text = str(DEPLOYMENTS).lower()
    assert not [word for word in ("token", "password", "hooks.", "secret") if word in text]
    assert not [key for key in keys() if "webhook" in key or "token" in key or "password" in key]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_the_form_in_the_ui_is_ordered_described_and_bounded(
    deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    schema = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False).parameters
    groups = {"the flow's own": schema.properties}
    groups |= {name: group.get("properties", {}) for name, group in (schema.definitions or {}).items()}
    for name, group in (schema.definitions or {}).items():
        assert group["description"], name  # what a field that is a group shows
    for name, fields in groups.items():
        assert [field["position"] for field in fields.values()] == [*range(len(fields))], name
        for field, about in fields.items():
            assert about.get("description") or "$ref" in about, f"{name}.{field}"
            for number in _numbers(about):
                for bound in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
                    assert set(bound) & set(number), f"{name}.{field} has no {bound[0]}"


def _numbers(about: Any) -> Iterator[dict[str, Any]]:
    """Every number that a field's schema allows, however deep."""
    if isinstance(about, dict):
        if about.get("type") in ("number", "integer"):
            yield about
        for name, inner in about.items():
            if name != "default":
                yield from _numbers(inner)
    elif isinstance(about, list):
        for inner in about:
            yield from _numbers(inner)


def test_a_parameter_that_is_wrong_is_refused_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    flow = load_flow_from_entrypoint(DEPLOYMENTS[0]["entrypoint"], use_placeholder_flow=False)
    with pytest.raises(ParameterTypeError, match="cluster"):
        flow.validate_parameters({"config": {"cluster": "mars"}})
