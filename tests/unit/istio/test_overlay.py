"""What the embedded distribution needs wins over the user's file; each setting that gives way is told."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlab import manifests
from meshlab.istio import overlay
from meshlab.istio.operator_file import at

NEEDED = manifests.read("embedded-operator", CLUSTER_DOMAIN="cluster.local")


def merge(spec: dict[str, Any] | None) -> overlay.Merged:
    return overlay.merge({"kind": "IstioOperator", "spec": spec}, NEEDED, hub="hub", tag="tag")


def test_nothing_of_the_users_gives_way_without_a_conflict():
    merged = merge(
        {
            "profile": "demo",
            "meshConfig": {"accessLogFile": "/dev/stdout"},
            "values": {"pilot": {"env": {"A": "b"}}},
        }
    )
    assert merged.overridden == ()
    assert at(merged.document, "spec.profile") == "demo"
    assert at(merged.document, "spec.meshConfig.accessLogFile") == "/dev/stdout"
    assert at(merged.document, "spec.values.pilot.env.A") == "b"
    assert at(merged.document, "spec.values.telemetry.enabled") is False
    assert (at(merged.document, "spec.hub"), at(merged.document, "spec.tag")) == ("hub", "tag")


def test_an_empty_spec():
    assert merge(None).document["spec"]["meshConfig"] == NEEDED["spec"]["meshConfig"]


def test_arguments_stay_as_they_were():
    user = {"spec": {"values": {"telemetry": {"enabled": True}}}}
    before, needed = copy.deepcopy(user), copy.deepcopy(NEEDED)
    overlay.merge(user, NEEDED, hub="h", tag="t").document["spec"]["meshConfig"].clear()
    assert (user, NEEDED) == (before, needed)


def test_a_conflict_is_settled_and_reported():
    merged = merge({"values": {"pilot": {"env": {"PILOT_ENABLE_ALPN_FILTER": "true"}}}})
    assert at(merged.document, "spec.values.pilot.env.PILOT_ENABLE_ALPN_FILTER") == "false"
    [line] = merged.overridden
    assert line.startswith("spec.values.pilot.env.PILOT_ENABLE_ALPN_FILTER: 'true' became 'false'")


def test_providers_are_merged_by_name():
    merged = merge(
        {
            "meshConfig": {
                "extensionProviders": [
                    {"name": "mine", "zipkin": {}},
                    {"name": "prometheus", "prometheus": {}},
                ]
            }
        }
    )
    names = [each["name"] for each in at(merged.document, "spec.meshConfig.extensionProviders")]
    assert names == ["mine", "prometheus", "jaeger", "zipkin"]
    assert [line.split(":")[0] for line in merged.overridden] == [
        "spec.meshConfig.extensionProviders[prometheus]"
    ]


def test_lists_of_plain_values_are_joined():
    merged = merge({"meshConfig": {"defaultConfig": {"proxyStatsMatcher": {"inclusionRegexps": ["mine.*"]}}}})
    kept = at(merged.document, "spec.meshConfig.defaultConfig.proxyStatsMatcher.inclusionRegexps")
    assert kept[0] == "mine.*" and len(kept) == 2 and merged.overridden == ()


def test_mesh_configuration_under_values_is_not_missed():
    """Istio merges values.meshConfig over meshConfig, so ours would lose there."""
    merged = merge(
        {
            "meshConfig": {"a": 1, "b": {"x": 1}},
            "values": {"meshConfig": {"a": 2, "b": {"y": 2}, "enableTracing": False}},
        }
    )
    mesh = at(merged.document, "spec.meshConfig")
    assert (mesh["a"], mesh["b"], mesh["enableTracing"]) == (2, {"x": 1, "y": 2}, True)
    assert "meshConfig" not in merged.document["spec"]["values"]
    assert [line.split(":")[0] for line in merged.overridden] == ["spec.meshConfig.enableTracing"]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"hub": "other"}, "spec.hub"),
        ({"values": {"global": {"tag": "1.21"}}}, "spec.values.global.tag"),
        ({"values": {"global": {"variant": "distroless"}}}, "spec.values.global.variant"),
        ({"components": {"pilot": {"hub": "other"}}}, "components.….hub"),
        ({"components": {"ingressGateways": [{"name": "g", "tag": "1"}]}}, "components.….tag"),
    ],
)
def test_images_that_only_a_registry_has_are_dropped(spec: dict[str, Any], path: str):
    merged = merge(spec)
    assert [line.split(":")[0] for line in merged.overridden] == [path]
    assert merged.document["spec"]["hub"] == "hub"


def test_a_patched_environment_of_istiod_can_not_undo_ours():
    env = [{"name": "PILOT_ENABLE_METADATA_EXCHANGE", "value": "true"}, {"name": "MINE", "value": "1"}]
    merged = merge({"components": {"pilot": {"k8s": {"env": env}}}})
    assert at(merged.document, "spec.components.pilot.k8s.env") == [{"name": "MINE", "value": "1"}]
    assert len(merged.overridden) == 1


def test_unvalidated_values_can_not_undo_ours():
    merged = merge(
        {
            "unvalidatedValues": {
                "telemetry": {"enabled": True},
                "mine": 1,
                "meshConfig": {"enableTracing": False},
            }
        }
    )
    assert at(merged.document, "spec.unvalidatedValues") == {"telemetry": {}, "mine": 1, "meshConfig": {}}
    assert len(merged.overridden) == 2


leaves = st.one_of(st.booleans(), st.text(max_size=3), st.integers())
trees = st.recursive(
    leaves, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6
)


@given(
    st.dictionaries(st.sampled_from(["meshConfig", "values"]), st.dictionaries(st.sampled_from("abc"), trees))
)
def test_whatever_the_user_writes_what_is_needed_is_there(spec: dict[str, Any]):
    document = merge(spec).document

    def holds(needed: Any, found: Any) -> bool:
        if isinstance(needed, dict):
            return all(holds(value, found[key]) for key, value in needed.items())
        return all(each in found for each in needed) if isinstance(needed, list) else needed == found

    assert holds(NEEDED["spec"], document["spec"])
