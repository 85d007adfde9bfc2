"""A shape knows a value's keys and kinds, and no values; what can't be compared is no difference."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.golden.shape import Shape, differences

ROW = {"pod": "details-v1-7d8f", "sent": 3, "error": None}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c-1"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def differ(one: object, other: object) -> list[str]:
    return list(differences(Shape.of(one), Shape.of(other)))


def test_keys_and_kinds_are_kept_and_values_are_not() -> None:
    written = Shape.of(
        {"rows": [ROW, {**ROW, "error": "x", "as expected": True}], "by_code": {"200": 3}}
    ).written()
    assert written == {
        "": "mapping",
        "by_code": "mapping",
        "by_code > *": "number",
        "rows": "list",
        "rows[]": "mapping",
        "rows[] > as expected?": "bool",
        "rows[] > error": "null|text",
        "rows[] > pod": "text",
        "rows[] > sent": "number",
    }
    assert Shape.read(json.loads(json.dumps(written))).written() == written


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"rows": [{**ROW, "seen": 1}]}, "rows[] > seen is new"),
        ({"rows": [{"pod": "a", "error": None}]}, "rows[] > sent is gone"),
        ({"rows": [{**ROW, "sent": "3"}]}, "rows[] > sent is text, was number"),
        ({"rows": {"a-1": ROW}}, "rows is mapping, was list"),
        ({"rows": [ROW, {}], "more": 1}, "more is new"),
        ({"lines": [ROW]}, "rows is gone"),
    ],
)
def test_a_changed_key_is_found(now: object, said: str) -> None:
    assert said in differ({"rows": [ROW]}, now)


@pytest.mark.parametrize(
    ("known", "now"),
    [
        ({"rows": [ROW]}, {"rows": []}),
        ({"rows": []}, {"rows": [ROW]}),
        ({"rows": [ROW]}, {"rows": [{**ROW, "error": "refused"}]}),
        ({"rows": [ROW, {"pod": "a", "sent": 1}]}, {"rows": [{"pod": "b", "sent": 2}]}),
        ({"by_code": {"200": 3}}, {"by_code": {"403 RBAC": 1, "reset": 2}}),
        ({"by_code": {"reset": 3}}, {"by_code": {"200": 1}}),
        ({"by_code": {}}, {"by_code": {"200": 1}}),
    ],
)
def test_other_values_names_and_numbers_of_rows_are_no_difference(known: object, now: object) -> None:
    assert differ(known, now) == []


@given(JSON)
def test_a_value_never_differs_from_itself(value: object) -> None:
    shape = Shape.of(value)
    assert list(differences(shape, shape)) == []
    assert list(differences(Shape.read(shape.written()), shape)) == []
