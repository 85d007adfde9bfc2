from pathlib import Path

import pytest
from pydantic import ValidationError

from meshlab.config.settings import LabConfig, Machine


@pytest.mark.parametrize(
    ("given", "distribution", "images", "namespace", "scope", "tuned"),
    [
        ({}, "embedded", "embedded", "default", "mesh", True),
        ({"cluster": "gke"}, "release", "official", "default", "mesh", False),
        ({"cluster": "existing"}, "release", "official", "meshlab", "namespace", False),
        ({"cluster": "existing", "allow_changes": True}, "release", "official", "meshlab", "mesh", False),
        (
            {"cluster": "existing", "istio": {"distribution": "embedded"}, "images": "embedded"},
            "embedded",
            "embedded",
            "meshlab",
            "namespace",
            False,
        ),
        (
            {"istio": {"distribution": "release"}, "app": {"namespace": "shop"}},
            "release",
            "official",
            "shop",
            "mesh",
            False,
        ),
    ],
)
def test_the_provider_supplies_defaults_and_no_more(
    given: dict, distribution: str, images: str, namespace: str, scope: str, tuned: bool
) -> None:
    config = LabConfig.model_validate(given)
    assert (config.distribution, config.image_source, config.namespace) == (distribution, images, namespace)
    assert (config.scope, config.tuned) == (scope, tuned)


@pytest.mark.parametrize(
    ("given", "needs", "pull"),
    [
        ({}, False, "never"),
        ({"keep": True}, False, "auto"),
        ({"istio": {"distribution": "release"}}, True, "never"),
        ({"images": "official", "keep": True}, True, "auto"),
        ({"istio": {"distribution": "release"}, "images": "embedded"}, True, "never"),
        ({"istio": {"distribution": "release"}, "local": {"pull": "never"}}, True, "never"),
        ({"cluster": "existing"}, False, "never"),
    ],
)
def test_official_images_have_to_come_to_nodes_without_a_way_out(given: dict, needs: bool, pull: str) -> None:
    config = LabConfig.model_validate(given)
    assert (config.needs_pull, config.pull) == (needs, pull)


def test_a_configuration_survives_json() -> None:
    config = LabConfig.model_validate({"traffic": {"gentle_interval": [1, 1.5]}, "runs_dir": "a/b"})
    assert LabConfig.model_validate_json(config.model_dump_json()) == config


def test_values_don_t_change_after_they_were_judged() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        LabConfig().keep = True  # type: ignore[misc]


def test_the_machine_s_folders_follow_the_xdg_specification() -> None:
    machine = Machine.here(
        {"HOME": "/home/me", "XDG_CACHE_HOME": "/fast/cache", "XDG_STATE_HOME": "relative"}
    )
    assert machine.cache == Path("/fast/cache/meshlab")
    assert machine.state == Path("/home/me/.local/state/meshlab")
    assert machine.kubeconfig == ""


def test_without_a_home_variable_the_user_database_tells() -> None:
    assert Machine.here({}).home.is_absolute()


@pytest.mark.parametrize("version", ["../../elsewhere", "latest", "1", "1.21.0/x", ""])
def test_a_version_of_istio_is_no_path(version: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        LabConfig.model_validate({"istio": {"version": version}})
    for good in ("1.21.0", "v1.21.0", "1.21", "1.31.0-dev"):
        assert LabConfig.model_validate({"istio": {"version": good}}).istio.version == good
