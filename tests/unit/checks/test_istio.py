import json
from pathlib import Path

import pytest

from meshlab.checks import istio
from meshlab.istio.control_plane import ControlPlane
from meshlab.istio.istioctl import MeshVersions, ProxyStatus
from meshlab.istio.mesh import INGRESS, Gateway, Mesh
from meshlab.run.results import Verdict
from tests.unit.checks.pods import pod

SYSTEM = [
    pod("istiod-1", namespace="istio-system", labels={"app": "istiod"}, containers=("discovery",)),
    pod("ingress-1", namespace="istio-system", labels={"istio": "ingressgateway"}),
    pod("egress-1", namespace="istio-system", labels={"istio": "egressgateway"}),
]
DEMO = istio.components_of(Mesh("default"), profile="demo")
LABELS = {"default": {"istio-injection": "enabled"}, "kube-system": {}}
SYNCED = {"CDS": "SYNCED", "LDS": "SYNCED", "EDS": "SYNCED", "RDS": "NOT SENT"}


# ── istio.cli


def test_istioctl_is_told_with_its_checksum() -> None:
    result = istio.cli(Path("/x/istioctl"), "1.31.0", "ab" * 32, expected_sha256="ab" * 32)
    assert result.verdict is Verdict.PASS
    assert result.summary == "istioctl 1.31.0, SHA-256 abababababab… (as recorded)"


@pytest.mark.parametrize(
    ("version", "more", "says"),
    [
        ("unknown", {}, "says that its version is 'unknown'"),
        ("1.31.0", {"wanted": "1.21.0"}, "1.21.0 was wanted"),
        ("1.31.0", {"expected_sha256": "cd" * 32}, "cdcdcdcdcdcd… was recorded"),
    ],
)
def test_an_istioctl_that_is_not_the_wanted_one_fails(version: str, more: dict, says: str) -> None:
    result = istio.cli(Path("/x/istioctl"), version, "ab" * 32, **more)
    assert result.verdict is Verdict.FAIL
    assert says in result.summary


# ── istio.control-plane


def test_the_control_plane_is_ready() -> None:
    result = istio.control_plane(SYSTEM, components=DEMO)
    assert result.verdict is Verdict.PASS
    assert result.summary.startswith("3 pods of 3 components Running and Ready (istiod 1")
    assert [row["name"] for row in result.evidence["pods"]] == ["egress-1", "ingress-1", "istiod-1"]
    json.dumps(result.as_json())


@pytest.mark.parametrize(
    ("pods", "says"),
    [
        (SYSTEM[:2], "istio-egressgateway has no pod"),
        ([], "istiod has no pod"),
        (
            [*SYSTEM[1:], pod("istiod-1", labels={"app": "istiod"}, is_ready=False, ready="0/1")],
            "istiod: pod istiod-1 is Running, 0/1 ready",
        ),
        (
            [*SYSTEM[1:], pod("istiod-1", labels={"app": "istiod"}, status="CrashLoopBackOff")],
            "istiod: pod istiod-1 is CrashLoopBackOff",
        ),
        ([*SYSTEM[1:], pod("istiod-1", labels={"app": "istiod"}, deleting=True)], "istiod has no pod"),
    ],
)
def test_a_component_that_is_not_ready_is_named(pods: list, says: str) -> None:
    result = istio.control_plane(pods, components=DEMO)
    assert result.verdict is Verdict.FAIL
    assert says in result.summary


def test_a_mesh_of_others_needs_istiod_and_the_gateways_that_it_was_given() -> None:
    without = istio.components_of(Mesh("shop"))
    assert list(without) == ["istiod"]
    assert istio.control_plane(SYSTEM[:1], components=without).verdict is Verdict.PASS
    there = Mesh("shop", gateways=(Gateway("istio-ingressgateway", "istio-system", INGRESS),))
    given = istio.components_of(there)
    assert list(given) == ["istiod", "istio-ingressgateway"]
    assert "istio-ingressgateway has no pod" in (
        istio.control_plane(SYSTEM[:1], components=given).reason or ""
    )
    assert "istiod has no pod" in (istio.control_plane([], components=without).reason or "")


def test_on_a_mesh_of_others_the_one_that_serves_us_and_its_gateways_are_expected() -> None:
    planes = [
        ControlPlane(f"istiod-{rev}", "mesh", rev, True, selector=f"app=istiod,istio.io/rev={rev}")
        for rev in ("stable", "canary")
    ]
    mesh = Mesh(
        "shop", tuple(planes), planes[0], gateways=(Gateway("istio-ingressgateway", "edge", INGRESS),)
    )
    components = istio.components_of(mesh)
    assert list(components) == ["istiod-stable", "istio-ingressgateway"]
    labels = {"app": "istiod", "istio.io/rev": "canary"}
    pods = [pod("istiod-canary-1", labels=labels), pod("gateway-1", labels={"istio": "ingressgateway"})]
    assert "istiod-stable has no pod" in istio.control_plane(pods, components=components).summary
    pods.append(pod("istiod-stable-1", labels=labels | {"istio.io/rev": "stable"}))
    assert istio.control_plane(pods, components=components).verdict is Verdict.PASS


def test_no_component_expected_is_no_pass() -> None:
    assert istio.control_plane(SYSTEM, components={}).verdict is Verdict.FAIL


# ── istio.injection


def test_every_pod_has_a_sidecar() -> None:
    result = istio.injection(LABELS, "default", [pod("a"), pod("b")])
    assert result.verdict is Verdict.PASS
    assert result.summary == "2 of 2 pods of default have a Ready sidecar"
    assert result.evidence["namespaces"][0] == {
        "namespace": "default",
        "istio-injection": "enabled",
        "istio.io/rev": "",
    }


def test_a_revision_label_asks_for_injection_too() -> None:
    assert istio.injection({"default": {"istio.io/rev": "x"}}, "default", [pod("a")]).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("labels", "pods", "says"),
    [
        (LABELS, [pod("a"), pod("b", containers=("app",))], "1 of 2 pods have no sidecar: b"),
        (
            LABELS,
            [pod("a", is_ready=False, ready="1/2")],
            "pod a has a sidecar but is not Ready: Running, 1/2",
        ),
        ({"default": {}}, [pod("a")], "has no label istio-injection=enabled"),
        ({"default": {"istio-injection": "disabled"}}, [pod("a")], "has no label istio-injection=enabled"),
        (LABELS, [], "there is no pod in default that should have a sidecar"),
        (LABELS, [pod("a", labels={"sidecar.istio.io/inject": "false"})], "there is no pod in default"),
        ({}, [pod("a")], "there is no namespace default"),
    ],
)
def test_missing_injection_is_named(labels: dict, pods: list, says: str) -> None:
    result = istio.injection(labels, "default", pods)
    assert result.verdict is Verdict.FAIL
    assert says in (result.reason or "")


def test_a_pod_that_opted_out_is_named_and_not_judged() -> None:
    out = pod("probe", containers=("app",), labels={"sidecar.istio.io/inject": "false"})
    result = istio.injection(LABELS, "default", [pod("a"), out])
    assert result.verdict is Verdict.PASS
    assert "probe" in result.summary


def test_a_finished_or_leaving_pod_is_not_judged() -> None:
    pods = [
        pod("a"),
        pod("b", containers=("app",), deleting=True),
        pod("c", containers=("app",), phase="Succeeded"),
    ]
    assert istio.injection(LABELS, "default", pods).summary.startswith("1 of 1 pods")


# ── istio.versions


def test_versions_agree() -> None:
    found = MeshVersions(
        "1.31.0", "abc", (("default", "1.31.0"),), (("a.default", "1.31.0"), ("b.x", "1.31.0"))
    )
    result = istio.versions(found, expected_proxies=["a.default", "b.x"])
    assert result.verdict is Verdict.PASS
    assert result.summary == "client 1.31.0, control plane 1.31.0, data plane 1.31.0 (2 proxies); no skew"
    assert result.evidence["data_plane"] == {"1.31.0": 2}


def test_skew_as_in_the_document_is_named() -> None:
    found = MeshVersions("1.24.2", "abc", (("default", "1.21.0"),), (("a.x", "1.21.0"), ("b.x", "1.21.0")))
    result = istio.versions(found)
    assert result.verdict is Verdict.PASS
    assert result.summary.endswith("1.21.0 / 1.24.2")


@pytest.mark.parametrize(
    ("plane", "proxies", "says"),
    [
        ("1.31.0", [], "the control plane knows no proxy"),
        (None, ["1.31.0"], "no control plane answered"),
        ("unknown", ["1.31.0"], "the version of the control plane is 'unknown'"),
        ("1.31.0", ["1.32.0"], "ahead of the control plane"),
        ("1.31.0", ["1.28.9"], "more than 2 minors behind"),
    ],
)
def test_planes_that_do_not_fit_fail(plane: str | None, proxies: list, says: str) -> None:
    found = MeshVersions(
        "1.31.0",
        "abc",
        ((("default", plane),) if plane else ()),
        tuple(("a.x", version) for version in proxies),
    )
    result = istio.versions(found)
    assert result.verdict is Verdict.FAIL
    assert says in (result.reason or "")


@pytest.mark.parametrize(
    ("proxy", "verdict"), [("1.31.0", Verdict.PASS), ("1.32.0", Verdict.FAIL), ("1.27.0", Verdict.FAIL)]
)
def test_of_two_control_planes_side_by_side_one_must_fit(proxy: str, verdict: Verdict) -> None:
    planes = (("default", "1.30.0"), ("1-31-0", "1.31.0"))
    found = MeshVersions("1.31.0", "abc", planes, (("a.x", proxy), ("b.x", "1.30.0")))
    assert istio.versions(found).verdict is verdict


def test_a_proxy_that_does_not_report_is_named() -> None:
    found = MeshVersions("1.31.0", "abc", (("default", "1.31.0"),), (("a.x", "1.31.0"),))
    assert "b.x" in (istio.versions(found, expected_proxies=["a.x", "b.x"]).reason or "")


def test_on_a_mesh_of_others_their_old_proxies_are_told_and_fail_nothing() -> None:
    proxies = (("a.shop", "1.31.0"), ("old.them", "1.20.0"), ("dumb.them", "unknown"))
    found = MeshVersions("1.31.0", "abc", (("default", "1.31.0"),), proxies)
    result = istio.versions(found, expected_proxies=["a.shop", "gone.them"], own=["a.shop"])
    assert result.verdict is Verdict.PASS, result.reason
    assert result.evidence["others"][0] == "gone.them did not report"
    assert "1.20.0" in result.evidence["others"][1] and "1.20.0" in result.summary
    for own in (["a.shop", "old.them"], ["a.shop", "dumb.them"], ["a.shop", "gone.them"]):
        ours = istio.versions(found, expected_proxies=["a.shop", "gone.them"], own=own)
        assert ours.verdict is Verdict.FAIL, "the control: our own one fails it"


# ── istio.proxies-synced


def proxy(name: str, types: dict | None = None, errors: dict | None = None) -> ProxyStatus:
    return ProxyStatus(f"{name}.default", "default", "1.31.0", types or SYNCED, errors or {})


def test_every_proxy_is_synced() -> None:
    result = istio.proxies_synced([proxy("a"), proxy("b")], ["a.default", "b.default"])
    assert result.verdict is Verdict.PASS, result.reason
    assert result.summary == "2 of 2 proxies synced, 2 of the lab among them, 0 rejected updates"
    assert result.evidence["proxies"][0]["RDS"] == "NOT SENT"


@pytest.mark.parametrize(
    ("statuses", "says"),
    [
        ([proxy("a")], "1 of 2 proxies are not connected: b.default"),
        ([], "2 of 2 proxies are not connected"),
        ([proxy("a"), proxy("b", {**SYNCED, "EDS": "STALE"})], "b.default: EDS is STALE"),
        ([proxy("a"), proxy("b", {**SYNCED, "LDS": "NOT SENT"})], "b.default: LDS is NOT SENT"),
        ([proxy("a"), proxy("b", {"CDS": "SYNCED"})], "b.default: LDS is NOT SENT"),
        (
            [proxy("a"), proxy("b", {**SYNCED, "LDS": "ERROR"}, {"LDS": "Didn't find\nistio.alpn\n"})],
            "b.default rejected LDS: Didn't find istio.alpn",
        ),
    ],
)
def test_a_proxy_that_lags_or_rejects_is_named(statuses: list, says: str) -> None:
    result = istio.proxies_synced(statuses, ["a.default", "b.default"])
    assert result.verdict is Verdict.FAIL
    assert says in (result.reason or "")


ZTUNNEL = {"istio.workload.Address": "SYNCED", "istio.security.Authorization": "SYNCED"}


def test_case_6_a_ztunnel_has_neither_clusters_nor_listeners() -> None:
    found = [proxy("a"), proxy("ztunnel-x", ZTUNNEL)]
    result = istio.proxies_synced(found, ["a.default", "ztunnel-x.default"])
    assert result.verdict is Verdict.PASS, result.reason
    late = proxy("ztunnel-x", {**ZTUNNEL, "istio.workload.Address": "STALE"})
    result = istio.proxies_synced([proxy("a"), late], ["a.default"])
    assert "ztunnel-x.default: istio.workload.Address is STALE" in (result.reason or "")
    idle = proxy("ztunnel-x", {**ZTUNNEL, "istio.security.Authorization": "NOT SENT"})
    assert istio.proxies_synced([proxy("a"), idle], ["a.default"]).verdict is Verdict.PASS


def test_case_6_on_a_mesh_of_others_their_proxies_are_told_and_fail_nothing() -> None:
    theirs = proxy("b", {**SYNCED, "EDS": "STALE"})
    result = istio.proxies_synced([proxy("a"), theirs], ["a.default", "gone.default"], own=["a.default"])
    assert result.verdict is Verdict.PASS, result.reason
    assert result.evidence["others"] == ["gone.default is not connected", "b.default: EDS is STALE"]
    assert "b.default: EDS is STALE" in result.summary
    ours = istio.proxies_synced([theirs], ["b.default"], own=["b.default"])
    assert ours.verdict is Verdict.FAIL, "the control: our own one that lags fails it"


def test_no_proxy_expected_is_no_pass() -> None:
    assert istio.proxies_synced([], []).verdict is Verdict.FAIL


def test_expected_proxies_are_the_living_pods_with_one() -> None:
    pods = [pod("a"), pod("b", containers=("app",)), pod("c", deleting=True)]
    assert istio.expected_proxies(pods) == ("a.default",)
