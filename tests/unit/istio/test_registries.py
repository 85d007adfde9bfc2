"""Registries of images that are being switched off: which images come from there, and what is said."""

from meshlab.istio.images import of_istio
from meshlab.istio.mesh import Mesh
from meshlab.istio.registries import hub_for, is_retired, table, warning
from tests.fakes.mesh import FakeMesh, make_object


def test_the_table_is_dated_and_names_its_source() -> None:
    assert table().date == "2026-08-21" and "istio.io" in table().source
    assert not any(row.prefix.startswith(table().hub) for row in table().retired)


def test_only_releases_whose_default_goes_get_another_hub() -> None:
    assert hub_for("1.30.0", {}) == hub_for("v1.30.5-distroless", {}) == table().hub
    assert [hub_for(version, {}) for version in ("1.29.9", "1.31.0", "1.30-alpha.5e4f", "unknown")] == [
        None
    ] * 4
    assert hub_for("1.30.5", {"spec": {"unvalidatedValues": {"global": {"hub": "x"}}}}) is None


def test_images_are_told_by_their_registry_and_named_once() -> None:
    gone, stays = f"{table().retired[0].prefix}/pilot:1.30.5", f"{table().hub}/pilot:1.30.5"
    assert is_retired(gone) and not is_retired(stays) and warning([stays]) == ""
    told = warning([gone, stays, gone])
    assert told.count(gone) == 1 and stays not in told
    assert table().hub in told and table().retired_in in told


def test_the_images_of_a_mesh_are_those_of_its_deployments() -> None:
    made = make_object("apps/v1", "Deployment", "istiod", "istio-system", app="istiod")
    pod = {
        "containers": [{"name": "discovery", "image": "a"}],
        "initContainers": [{"name": "i", "image": "b"}],
    }
    assert of_istio(FakeMesh([{**made, "spec": {"template": {"spec": pod}}}]), Mesh("default")) == ("a", "b")  # type: ignore[arg-type]
