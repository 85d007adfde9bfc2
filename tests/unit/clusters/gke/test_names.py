from datetime import UTC, datetime

import pytest

from meshlab.clusters.gke.names import (
    Place,
    expires_in,
    expiry,
    is_ours,
    label_value,
    labels,
    load_balancer_name,
)

NOW = datetime(2026, 11, 23, 21, 30, tzinfo=UTC)


def test_labels_are_what_the_cloud_accepts_and_say_who_answers() -> None:
    found = labels("20261123t212515z-4b19", "Ada.Lovelace@example.org", expires_in(4, NOW))
    assert found == {
        "managed-by": "meshlab",
        "meshlab-run-id": "20261123t212515z-4b19",
        "meshlab-owner": "ada-lovelace-example-org",
        "meshlab-expires": "20261124t0130z",
    }
    assert all(len(value) <= 63 for value in found.values()) and len(label_value("x" * 99)) == 63
    assert expiry(found) == datetime(2026, 11, 24, 1, 30, tzinfo=UTC)
    assert is_ours(found)


@pytest.mark.parametrize(
    "found", [{}, {"managed-by": "meshlab"}, {"managed-by": "other", "meshlab-run-id": "x"}]
)
def test_what_lacks_our_labels_is_not_ours(found: dict[str, str]) -> None:
    assert not is_ours(found)


@pytest.mark.parametrize("text", ["", "soon", "20261399t0000z"])
def test_a_date_that_can_not_be_read_is_none(text: str) -> None:
    assert expiry({"meshlab-expires": text}) is None


def test_paths() -> None:
    place = Place("p", "us-central1-b", "lab")
    assert place.path == "projects/p/locations/us-central1-b/clusters/lab"
    assert place.operation("operation-1") == "projects/p/locations/us-central1-b/operations/operation-1"
    assert place.operation(place.operation("operation-1")) == place.operation("operation-1")


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("gke-lab-default-pool-1a2b3c4d-x9zz", True),
        ("gke-lab-1a2b3c4d-node", True),
        ("gke-lab-1a2b3c4d-all", True),
        ("gke-lab-two-default-pool-1a2b3c4d-x9zz", False),
        ("gke-lab-two-1a2b3c4d-all", False),
        ("gke-la-1a2b3c4d-all", False),
        ("xgke-lab-1a2b3c4d-all", False),
        ("gke-lab", False),
    ],
)
def test_names_of_neighbours_are_told_apart(name: str, ours: bool) -> None:
    assert Place("p", "z", "lab").names_its_own(name) is ours


def test_a_load_balancer_is_named_after_its_service() -> None:
    name = load_balancer_name("123e4567-e89b-12d3-a456-426614174000")
    assert (name, len(name)) == ("a123e4567e89b12d3a45642661417400", 32)
