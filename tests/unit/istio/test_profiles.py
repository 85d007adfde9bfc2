"""Which profile runs, and which the embedded distribution refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.config.settings import LabConfig
from meshlab.istio import profiles


def config(**istio: object) -> LabConfig:
    return LabConfig.model_validate({"istio": istio})


def test_the_default_is_demo():
    assert profiles.chosen(config(), None) == "demo"


def test_the_file_decides_unless_the_setting_was_given():
    operator = {"spec": {"profile": "minimal"}}
    assert profiles.chosen(config(), operator) == "minimal"
    assert profiles.chosen(config(profile="demo"), operator) == "demo"


@pytest.mark.parametrize("profile", ["default", "demo", "minimal", "preview"])
def test_runnable_profiles(profile: str):
    assert profiles.embedded_problems(profile, None) == []


@pytest.mark.parametrize(
    ("profile", "why"),
    [("mars", "profile"), ("ambient", "ztunnel"), ("remote", "control plane"), ("stable", "EnvoyFilter")],
)
def test_refused_profiles(profile: str, why: str):
    [problem] = profiles.embedded_problems(profile, None)
    assert problem.where == f"--profile {profile}" and why in problem.what
    assert problem.remedy.endswith(", ".join(profiles.EMBEDDED_RUNS))


def test_empty_needs_a_file_that_brings_a_control_plane():
    assert profiles.embedded_problems("empty", None)
    assert profiles.embedded_problems("empty", {"spec": {"components": {"pilot": {"enabled": True}}}}) == []


def test_a_profiles_providers_are_read_from_its_values(tmp_path: Path):
    (tmp_path / "demo.yaml").write_text("meshConfig: {extensionProviders: [{name: otel}]}")
    assert profiles.extension_providers(tmp_path, "demo") == [{"name": "otel"}]
    assert profiles.extension_providers(tmp_path, "minimal") == []
    assert profiles.extension_providers(None, "demo") == []
