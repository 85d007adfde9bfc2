"""Our own YAML is whole, and its parts fit together."""

from __future__ import annotations

import re

from meshlab import manifests

HTTP, TCP = "http_connection_manager", "tcp_proxy"


def patches() -> list[dict]:
    return manifests.read("telemetry-envoyfilter")["spec"]["configPatches"]


def loggers() -> list[tuple[str, dict]]:
    """(context, stats logger) of every patch that adds one."""
    return [
        (patch["match"]["context"], log["typed_config"])
        for patch in patches()
        for log in patch["patch"]["value"].get("typed_config", {}).get("access_log", [])
    ]


def test_each_read_returns_a_value_of_its_own():
    manifests.read("embedded-operator")["spec"]["meshConfig"].clear()
    assert manifests.read("embedded-operator")["spec"]["meshConfig"]


def test_istiod_sends_nothing_that_an_upstream_envoy_rejects():
    spec = manifests.read("embedded-operator")["spec"]
    env = spec["values"]["pilot"]["env"]
    assert env["PILOT_ENABLE_ALPN_FILTER"] == env["PILOT_ENABLE_METADATA_EXCHANGE"] == "false"
    assert spec["values"]["telemetry"]["enabled"] is False
    providers = {each["name"]: each for each in spec["meshConfig"]["extensionProviders"]}
    assert "envoyFileAccessLog" in providers["prometheus"], (
        "a Telemetry resource would bring istio.stats back"
    )


def test_environment_values_are_text_as_kubernetes_demands():
    env = manifests.read("embedded-operator")["spec"]["values"]["pilot"]["env"]
    assert all(isinstance(value, str) for value in env.values())


def test_every_direction_counts_http_and_tcp():
    named = [
        (patch["match"]["context"], patch["match"]["listener"]["filterChain"]["filter"]["name"])
        for patch in patches()
    ]
    for context in ("SIDECAR_OUTBOUND", "SIDECAR_INBOUND", "GATEWAY"):
        assert (context, f"envoy.filters.network.{HTTP}") in named
        assert (context, f"envoy.filters.network.{TCP}") in named


def test_only_upstream_extensions_are_named():
    text = repr(patches())
    types = set(re.findall(r"type\.googleapis\.com/([\w.]+)", text))
    assert types and all(name.startswith("envoy.extensions.") for name in types)


def test_names_pass_the_bootstraps_filter():
    assert {logger["stat_prefix"] for _, logger in loggers()} == {"istio"}


def test_both_reporters_give_the_same_standard_labels():
    """After relabelling: a label that only one reporter has would split the sums of dashboards."""
    made = {rule["target_label"] for rule in manifests.read("prometheus-relabel") if "target_label" in rule}
    labels: dict[str, set[str]] = {}
    for _, logger in loggers():
        stat = logger["counters"][0]["stat"]
        if stat["name"] != "requests_total":
            continue
        names = {tag["name"] for tag in stat["tags"]}
        reporter = next(tag["value_format"] for tag in stat["tags"] if tag["name"] == "reporter")
        far = "destination_" if reporter == "source" else "source_"
        assert f"{far}peer" in names
        labels[reporter] = (names - {f"{far}peer"}) | {name for name in made if name.startswith(far)}
    assert labels["source"] == labels["destination"]


def test_relabelling_splits_a_peer():
    """The rules, applied as Prometheus applies them: anchored, in order."""
    series = {
        "__name__": "envoy_istio_requests_total",
        "destination_peer": "reviews-v2;default;reviews;v2;Kubernetes",
    }
    for rule in manifests.read("prometheus-relabel"):
        if rule.get("action") == "labeldrop":
            series = {k: v for k, v in series.items() if not re.fullmatch(rule["regex"], k)}
            continue
        value = ";".join(series.get(label, "") for label in rule["source_labels"])
        found = re.fullmatch(rule["regex"], value)
        if found:
            series[rule["target_label"]] = found.expand(rule["replacement"].replace("$", "\\"))
    assert series == {
        "__name__": "istio_requests_total",
        "destination_workload": "reviews-v2",
        "destination_workload_namespace": "default",
        "destination_canonical_service": "reviews",
        "destination_app": "reviews",
        "destination_canonical_revision": "v2",
        "destination_version": "v2",
        "destination_cluster": "Kubernetes",
    }


def test_words_are_filled_in_at_once_and_the_longest_first() -> None:
    filled = manifests.read("authz-client", NAME="ACCOUNT", ACCOUNT="a")
    assert filled["metadata"]["name"] == "ACCOUNT"
    assert filled["spec"]["template"]["spec"]["serviceAccountName"] == "a"
    assert (
        manifests.read("egress-policy", NAMES="wrong", NAMESPACE="shop", MODE="X")["metadata"]["namespace"]
        == "shop"
    )
