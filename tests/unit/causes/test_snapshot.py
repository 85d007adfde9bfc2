"""What a run keeps of the mesh's configuration, without secrets, and what differs from what another run kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from meshlab.causes.explain import explain
from meshlab.causes.objects import Found, found_of
from meshlab.causes.snapshot import FOLDER, Baseline, Change, changes, keep, load

HIDDEN = "hunter2-hunter2"


def thing(kind: str, name: str, spec: Mapping[str, Any], **meta: Any) -> Found:
    return found_of(kind, {"metadata": {"namespace": "shop", "name": name, **meta}, "spec": spec})


def route(seconds: int, name: str = "slow", host: str = "productpage", **meta: Any) -> Found:
    fault = {"delay": {"fixedDelay": f"{seconds}s", "percentage": {"value": 100}}}
    return thing("VirtualService", name, {"hosts": [host], "http": [{"fault": fault}]}, **meta)


def kept(directory: Path, **moments: list[Found]) -> Path:
    for moment, objects in moments.items():
        keep(directory / "evidence", moment, objects)
    return directory


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Deployment", {"template": {"spec": {"containers": [{"env": [{"name": "DB", "value": HIDDEN}]}]}}}),
        ("Deployment", {"template": {"spec": {"containers": [{"args": [f"--password={HIDDEN}", "--v=1"]}]}}}),
        ("Deployment", {"template": {"spec": {"containers": [{"command": ["x", "--api-key", HIDDEN]}]}}}),
        ("Deployment", {"template": {"spec": {"containers": [{"args": [f"postgres://shop:{HIDDEN}@db/x"]}]}}}),
        ("VirtualService", {"http": [{"headers": {"request": {"set": {"x-shop": HIDDEN}}}}]}),
        ("VirtualService", {"http": [{"match": [{"headers": {"authorization": {"exact": HIDDEN}}}]}]}),
        ("EnvoyFilter", {"configPatches": [{"patch": {"value": {"generic_secret": {"inline_string": HIDDEN}}}}]}),
        ("EnvoyFilter", {"configPatches": [{"patch": {"value": {"token": [{"x": HIDDEN}]}}}]}),
    ],
)  # fmt: skip
def test_values_that_could_be_secrets_are_not_kept(kind: str, spec: dict[str, Any], tmp_path: Path) -> None:
    applied = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(spec)}
    path = keep(tmp_path, "check-app", [thing(kind, "x", spec, annotations=applied)])
    assert HIDDEN not in path.read_text(encoding="utf-8") and HIDDEN in json.dumps(spec)


def test_names_of_secrets_and_all_that_routes_are_kept(tmp_path: Path) -> None:
    spec = {
        "servers": [{"tls": {"mode": "SIMPLE", "credentialName": "shop-cert"}, "hosts": ["shop.example"]}]
    }
    kept(tmp_path, m=[thing("Gateway", "edge", spec)])
    assert load(tmp_path)["m"]["Gateway shop/edge"]["spec"] == spec


def test_what_differs_is_named_with_its_field_and_who_changed_it(tmp_path: Path) -> None:
    service = {"ports": [{"port": 80, "name": "http", "nodePort": 30001}], "clusterIP": "10.0.0.1"}
    again = {"ports": [{"port": 80, "name": "http", "nodePort": 30999}], "clusterIP": "10.0.0.2"}
    touched = {"managedFields": [{"manager": "kubectl", "time": "2026-11-28T09:00:00Z"}]}
    before = kept(tmp_path / "a", m=[route(1), thing("Service", "s", service), thing("Sidecar", "old", {}),
                                     thing("Pod", "p-1", {})])  # fmt: skip
    after = kept(tmp_path / "b", m=[route(9, **touched), thing("Service", "s", again), thing("Sidecar", "new", {}),
                                    thing("Pod", "p-2", {})])  # fmt: skip
    found = changes(load(before), load(after))
    assert found == (
        Change("Sidecar shop/new", "new"),
        Change("Sidecar shop/old", "gone"),
        Change("VirtualService shop/slow", "changed",
               "spec.http.0.fault.delay.fixedDelay: 1s → 9s; changed 2026-11-28T09:00:00Z by kubectl"),
    )  # fmt: skip
    assert changes(load(after), load(after)) == ()


def test_runs_are_compared_at_the_moments_that_both_came_to(tmp_path: Path) -> None:
    whole = load(kept(tmp_path / "a", app=[route(1)], strict=[route(1), thing("Sidecar", "theirs", {})]))
    short = load(kept(tmp_path / "b", app=[route(1)]))
    assert changes(whole, short) == () and changes(short, whole) == ()
    assert changes(whole, {}) is None and changes(load(tmp_path / "gone"), whole) is None


@pytest.mark.parametrize("text", ["", "[]", '{"objects": {"x": 1}}', "not JSON", "{}"])
def test_a_file_that_is_no_snapshot_is_passed_over(text: str, tmp_path: Path) -> None:
    kept(tmp_path, good=[route(1)])
    (tmp_path / "evidence" / FOLDER / "bad.json").write_text(text, encoding="utf-8")
    assert [*load(tmp_path)] == ["good"]


def test_newness_decides_only_between_objects_that_explain_equally_well(tmp_path: Path) -> None:
    old, new = route(3, "old"), route(3, "new")
    cuts = thing("NetworkPolicy", "fresh", {"podSelector": {"matchLabels": {"app": "other"}}, "ingress": []})
    red = [{"id": "app.productpage", "verdict": "fail", "summary": "slow productpage", "evidence": {}}]
    moments = load(kept(tmp_path, m=[old]))

    def named(*objects: Found, green: Baseline | None) -> list[tuple[str, str]]:
        found = explain(red, objects, namespace="shop", root="istio-system", green=green)
        return [(cause.object.partition("/")[2], cause.change) for cause in found]

    baseline = Baseline("r-1", moments)
    for objects in ((old, new), (new, old)):
        assert named(*objects, green=baseline) == [("new", "new since the green run r-1"), ("old", "")]
    assert named(old, cuts, green=baseline)[0] == ("old", ""), "what does nothing to the traffic stays behind"
    assert named(route(4, "old"), green=baseline) == [("old", "changed since the green run r-1")]
    assert named(new, green=None) == [("new", "")]


def test_an_object_is_as_the_green_run_saw_it_at_any_of_its_moments(tmp_path: Path) -> None:
    modes = [thing("PeerAuthentication", "x", {"mtls": {"mode": mode}}) for mode in ("PERMISSIVE", "STRICT")]
    baseline = Baseline("r-1", load(kept(tmp_path, app=[modes[0]], audit=[modes[1]])))
    assert [baseline.news_of(each) for each in modes] == ["", ""]
    assert baseline.news_of(thing("PeerAuthentication", "x", {"mtls": {"mode": "DISABLE"}})) == "changed"
    assert baseline.news_of(thing("Pod", "x-1", {})) == "" == Baseline("r-0", {}).news_of(modes[0])
