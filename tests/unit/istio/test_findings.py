"""What istioctl tells of a cluster that it was given twice is neither told twice nor lost."""

from __future__ import annotations

import pytest

from meshlab.istio.findings import Finding, findings_of

MISMATCH = {
    "code": "IST0158",
    "level": "Warning",
    "origin": "Namespace shop",
    "message": "(pod names: [a a b b])",
}
GATEWAY = {"code": "IST0101", "level": "Error", "origin": "Gateway shop/a", "message": "m"}


@pytest.mark.parametrize("name", ["default", "here"])
def test_a_finding_that_is_told_once_by_chance_under_either_name_is_not_lost(name: str) -> None:
    told = [{**GATEWAY, "cluster": "default"}, {**GATEWAY, "cluster": "here"}, {**MISMATCH, "cluster": name}]
    assert findings_of(told, twice="here") == (
        Finding("IST0101", "Error", "Gateway shop/a", "m"),
        Finding("IST0158", "Warning", "Namespace shop", "(pod names: [a b])"),
    )


def test_the_same_fault_of_two_objects_is_told_of_both() -> None:
    told = [{**GATEWAY, "cluster": "default"}, {**GATEWAY, "origin": "Gateway shop/b", "cluster": "here"}]
    assert [each.origin for each in findings_of(told, twice="here")] == ["Gateway shop/a", "Gateway shop/b"]


def test_a_cluster_that_was_given_once_is_told_as_it_is() -> None:
    assert findings_of([MISMATCH, MISMATCH]) == (
        Finding("IST0158", "Warning", "Namespace shop", "(pod names: [a a b b])"),
    )
