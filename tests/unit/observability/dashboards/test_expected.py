"""The lists of queries that may be empty: whole, consistent with the choices, exact about what they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.core.errors import IstioError
from meshlab.observability.dashboards import expected
from meshlab.observability.dashboards.expected import Choice, Expectations, read_expectations
from meshlab.observability.dashboards.read import dashboard
from tests.fakes.dashboards import json_dashboard, json_panel

KINDS = ("embedded", "release")
LIST = """
preconditions:
  no-x: {why: nobody sends x, absent: 'x{a="$one"}', control: up}
empty:
- dashboard: A Dashboard
  precondition: no-x
  choice: main
  filled_by: other
  queries:
    '1 Panel 1': {A: 'DIGEST'}
- dashboard: A Dashboard
  precondition: no-x
  optional: true
  queries:
    '2 Panel 2': {A: '000000000000'}
"""
CHOICES = """
A Dashboard:
- {name: main, variables: {one: x.$namespace.svc}}
- {name: other, variables: {one: y}}
"""


@pytest.fixture
def shipped():
    return dashboard(json_dashboard(json_panel(1, "sum(x)"), json_panel(2, "y"), json_panel(3, "z")))


@pytest.fixture
def lists(shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Expectations:
    """Lists of our own, read from files as the real ones are."""
    [digest, *_] = [target.digest for _, target in shipped.targets()]
    (tmp_path / "expected-embedded.yaml").write_text(LIST.replace("DIGEST", digest))
    (tmp_path / "choices.yaml").write_text(CHOICES)
    monkeypatch.setattr(expected, "files", lambda package: tmp_path)
    return read_expectations("embedded", "shop", domain="corp.local")


def test_an_entry_names_one_query_under_one_choice(shipped, lists: Expectations):
    main, other = lists.choices_of(shipped)
    assert main == Choice("main", {"one": "x.shop.svc"})
    (one, a), (two, b), (three, c) = shipped.targets()
    found = lists.find(shipped, one, a, main)
    assert found is not None and (found.filled_by, found.optional) == ("other", False)
    assert found.precondition.absent == 'x{a="$one"}'
    assert lists.find(shipped, one, a, other) is None, "the other choice must have data"
    assert lists.find(shipped, two, b, main) is None, "its expression is another one"
    assert lists.find(shipped, three, c, main) is None


def test_a_changed_query_is_a_new_one(lists: Expectations):
    changed = dashboard(json_dashboard(json_panel(1, "sum(x) by (y)"), json_panel(2, "y")))
    [(panel, target), _] = changed.targets()
    assert lists.find(changed, panel, target, lists.choices_of(changed)[0]) is None
    assert len(lists.unknown([changed])) == 2


def test_stale_entries_are_found(shipped, lists: Expectations):
    assert [(each.panel, each.digest) for each in lists.unknown([shipped])] == [(2, "000000000000")]


def test_a_dashboard_without_choices_has_one_that_picks_nothing(lists: Expectations):
    assert lists.choices_of(dashboard(json_dashboard(title="B"))) == (Choice("", {}),)


@pytest.mark.parametrize(
    "text", ["[", "preconditions: {}", "preconditions: {a: {why: b}}\nempty: []", "empty: 1"]
)
def test_a_broken_list_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str):
    (tmp_path / "expected-embedded.yaml").write_text(text)
    (tmp_path / "choices.yaml").write_text("{}")
    monkeypatch.setattr(expected, "files", lambda package: tmp_path)
    with pytest.raises(IstioError, match="can't be read") as caught:
        read_expectations("embedded", "default", domain="corp.local")
    assert "expected-embedded.yaml" in caught.value.remedy


@pytest.mark.parametrize("kind", KINDS)
def test_the_lists_are_consistent(kind):
    lists = read_expectations(kind, "default", domain="corp.local")
    keys = [(e.dashboard, e.panel, e.ref, e.choice) for e in lists.entries]
    assert len(keys) == len(set(keys)) > 40
    for entry in lists.entries:
        names = [choice.name for choice in lists.choices.get(entry.dashboard, ())]
        assert entry.choice in ("", *names[:1]), "an entry is about the first choice, or about every one"
        assert entry.filled_by in ("", *names[1:])
        assert bool(entry.choice) == bool(entry.filled_by)
        assert len(entry.digest) == 12
        assert entry.precondition.why and entry.precondition.absent != entry.precondition.control


def test_the_document_looks_at_productpage_and_at_reviews_v3():
    lists = read_expectations("embedded", "shop", domain="corp.local")
    assert lists.choices["Istio Service Dashboard"][0].variables == {
        "service": "productpage.shop.svc.corp.local"
    }
    assert lists.choices["Istio Workload Dashboard"][0].variables == {
        "namespace": "shop",
        "workload": "reviews-v3",
    }


def test_with_the_embedded_distribution_everything_else_must_be_empty():
    assert not any(
        entry.optional
        for entry in read_expectations("embedded", "default", domain="corp.local", scope="mesh").entries
    )


def test_what_others_configure_may_be_counted_where_the_mesh_is_theirs():
    lists = read_expectations("embedded", "default", domain="corp.local", scope="mesh", ours=False)
    assert {entry.precondition.name for entry in lists.entries if entry.optional} == {
        "no-rejected-configuration",
        "no-internal-error",
        "no-invalid-object",
        "no-failed-injection",
    }


def test_on_a_mesh_that_others_use_only_their_traffic_is_left_open():
    lists = read_expectations("embedded", "default", domain="corp.local")
    assert {entry.precondition.name for entry in lists.entries if entry.optional} == {"no-ingress-traffic"}
    whole = read_expectations("embedded", "default", domain="corp.local", scope="mesh")
    assert set(lists.entries) - set(whole.entries) == {entry for entry in lists.entries if entry.optional}
    assert set(whole.entries) < set(lists.entries)
