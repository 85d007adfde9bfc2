"""The catalogue of faults: what each declares can be asked for, and what each plants is what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from meshlab.checks.base import CATALOG
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import ClusterError, IstioError, KubeError
from meshlab.faults import faults, injection, nodes, planters, scraping
from meshlab.faults.fault import GROUPS, NO_FAULT, Fault, Site, nothing
from meshlab.istio.control_plane import ControlPlane
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.kube.changes import Changes, restore_left
from meshlab.kube.fingerprint import KINDS
from meshlab.kube.pods import summarise
from meshlab.run.journal import RunRef, create
from meshlab.run.ledger import Ledger
from tests.fakes.kube import FakeKube, make_pod

FIREWALL = "edge-cut-by-firewall"
WEBHOOKS = ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration")
SERVICES = (
    *(("default", name) for name in ("details", "reviews", "ratings")),
    *(("istio-system", name) for name in ("jaeger-collector", "zipkin")),
)
SETTINGS = """
global: {scrape_interval: 15s}
scrape_configs:
- {job_name: kubernetes-pods, kubernetes_sd_configs: [{role: pod}]}
- {job_name: kubernetes-nodes, kubernetes_sd_configs: [{role: node}]}
"""


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return create(tmp_path / "runs", "sabotage")


@pytest.fixture
def ledger(tmp_path: Path, run: RunRef) -> Ledger:
    return Ledger.open(Machine.here({"HOME": str(tmp_path / "home")}), run)


def lab() -> FakeKube:
    kube = FakeKube()
    kube.kinds |= dict.fromkeys(KINDS, True)
    for name in ("productpage", "details"):
        kube.put(make_pod(f"{name}-1", labels={"app": name, "version": "v1"}))
    kube.put(
        make_pod("prometheus-1", namespace="istio-system", labels={"app.kubernetes.io/name": "prometheus"})
    )
    for namespace, name in SERVICES:
        meta = {"name": name, "namespace": namespace}
        spec = {"clusterIP": "10.0.0.7", "selector": {"app": name}, "ports": [{"port": 9080, "name": "http"}]}
        kube.put({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
    meta = {"name": "istio-ca-root-cert", "namespace": "default"}
    kube.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"root-cert.pem": "…"}})
    meta = {"name": "prometheus", "namespace": "istio-system"}
    kube.put(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"prometheus.yml": SETTINGS}}
    )
    for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", WEBHOOKS[1]):
        kube.kinds[WEBHOOKS[0], kind] = False
    hook = {"name": "rev.sidecar-injector.istio.io", "failurePolicy": "Fail"}
    hook |= {"clientConfig": {"service": {"name": "istiod", "namespace": "istio-system"}}}
    api_version, kind = WEBHOOKS
    meta = {"name": "istio-sidecar-injector"}
    kube.put({"apiVersion": api_version, "kind": kind, "metadata": meta, "webhooks": [hook]})
    labels = {"istio-injection": "enabled"}
    kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": labels}})
    for namespace, name in (("default", "details-v1"), ("default", "ratings-v1"), ("istio-system", "istiod")):
        meta = {"name": name, "namespace": namespace}
        kube.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": 1}})
    return kube


def site(kube: FakeKube, ledger: Ledger, run: RunRef) -> Site:
    return Site(kube, Istioctl(Path("istioctl")), LabConfig(), Changes(kube, ledger, run), Mesh("default"))


def fake_restarts(monkeypatch: pytest.MonkeyPatch, *, sidecar: bool = False) -> list[tuple[str, str]]:
    """Stand in for the waits for Prometheus, for a lost node, and for new pods, which come without a sidecar."""
    done: list[tuple[str, str]] = []

    def restart(kube: object, namespace: str, selector: str) -> list:
        done.append((namespace, selector))
        pod = make_pod("new")
        if not sidecar:
            pod["spec"]["initContainers"] = []
        return [summarise(pod)]

    monkeypatch.setattr(planters, "wait_not_scraped", lambda *_: None)
    monkeypatch.setattr(nodes, "not_ready", lambda _: ["node-1"])
    monkeypatch.setattr(injection, "restart", restart)
    monkeypatch.setattr(scraping, "restart", restart)
    monkeypatch.setattr(planters, "restart", restart)
    return done


def test_there_are_at_least_forty_and_their_names_are_their_own() -> None:
    assert len(faults.FAULTS) >= 40
    assert len(set(faults.NAMES)) == len(faults.NAMES)


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_a_fault_declares_checks_that_exist_and_that_are_made(fault: Fault) -> None:
    assert fault.must
    assert not set(fault.must) & set(fault.may)
    assert set(fault.groups) <= set(GROUPS)
    made = set(fault.checks)
    assert {*fault.must, *fault.may} <= made <= set(CATALOG)
    if (
        not fault.last
    ):  # a lab that is being removed has but the one check; it holds a control, and passes afterwards
        assert made - {*fault.must, *fault.may}, "some check must stay green, or a dead lab would be a catch"
    assert (fault.plant is nothing) == (fault.edge != NO_FAULT)
    assert fault.title and fault.scope in ("namespace", "mesh")


@pytest.mark.parametrize(
    "fault",
    [
        each
        for each in faults.FAULTS
        if each.plant is not nothing and each.name not in (FIREWALL, "never-restarted", "mount-in-use")
    ],
    ids=lambda fault: fault.name,
)
def test_what_a_fault_plants_is_put_back_by_the_ledger_alone(
    fault: Fault, ledger: Ledger, run: RunRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    restarted = fake_restarts(monkeypatch)
    kube = lab()
    before = dict(kube.store)
    fault.plant(site(kube, ledger, run))
    assert kube.store != before
    touched = {key for key in kube.store.keys() | before.keys() if kube.store.get(key) != before.get(key)}
    if fault.scope == "namespace":
        assert {namespace for _, _, namespace, _ in touched} == {"default"}
    restore_left(kube, ledger)
    assert kube.store == before
    assert ledger.entries() == ()
    healed = [*(("default", selector) for selector in fault.heal)]
    healed += [("istio-system", scraping.PODS)] if fault.restarts_prometheus else []
    assert set(restarted) <= set(healed), "what was restarted to meet a fault is restarted when it is gone"


def test_the_firewall_is_asked_to_cut_the_edge_on_the_callers_node(ledger: Ledger, run: RunRef) -> None:
    class FakeFirewall:
        cuts: tuple = ()

        def cut(self, *what: object) -> None:
            self.cuts = (*self.cuts, what)

    kube, firewall = lab(), FakeFirewall()
    plain = site(kube, ledger, run)
    [fault] = faults.choose(["edge-cut-by-firewall"])
    fault.plant(Site(kube, plain.istioctl, plain.config, plain.changes, plain.mesh, firewall))
    assert firewall.cuts == (("node-1", "10.0.0.1", "10.0.0.1", 9080),)
    with pytest.raises(ClusterError, match="nodes can't be entered"):
        fault.plant(plain)


def test_a_fault_whose_pod_is_missing_says_so(ledger: Ledger, run: RunRef) -> None:
    [fault] = faults.choose(["prometheus-not-scraping"])
    with pytest.raises(KubeError, match="no Ready pod of productpage-v1 in default"):
        fault.plant(site(FakeKube(), ledger, run))


def test_faults_are_chosen_by_name_in_the_catalogues_order() -> None:
    assert faults.choose() == faults.FAULTS
    names = [fault.name for fault in faults.choose([faults.NAMES[3], faults.NAMES[1]])]
    assert names == [faults.NAMES[1], faults.NAMES[3]]
    with pytest.raises(KeyError, match="no fault nope; there are "):
        faults.choose(["nope"])


THEIRS = LabConfig(cluster="existing")


@pytest.mark.parametrize(
    ("name", "config", "why"),
    [
        ("gateway-api-host-widened", LabConfig(), "not asked for: --set security.gateway_api=true"),
        ("gateway-api-host-widened", LabConfig(security={"gateway_api": True}), ""),
        ("istiod-stopped", LabConfig(), ""),
        ("istiod-stopped", THEIRS, "needs scope mesh"),
        ("edge-cut-by-firewall", THEIRS, "needs a node of the local cluster"),
        ("edge-cut-by-network-policy", LabConfig(), "needs NetworkPolicies that are enforced: "),
        ("edge-cut-by-network-policy", LabConfig(local={"network_policy": True}), ""),
        ("edge-cut-by-network-policy", THEIRS, "needs NetworkPolicies that are enforced: "),
        ("abort-10-percent", THEIRS, ""),
    ],
)
def test_what_can_not_be_planted_somewhere_says_why(name: str, config: LabConfig, why: str) -> None:
    [fault] = faults.choose([name])
    assert faults.why_not(fault, config).startswith(why) and bool(why) == bool(faults.why_not(fault, config))


def test_a_fault_is_planted_under_the_meshs_own_names(ledger: Ledger, run: RunRef) -> None:
    kube = lab()
    meta = {"name": "istiod-stable", "namespace": "mesh"}
    kube.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": 1}})
    plane = ControlPlane("istiod-stable", "mesh", "stable", True)
    mesh = Mesh("default", (plane,), plane, trust_domain="corp.example", cluster_domain="pasta.local")
    plain = site(kube, ledger, run)
    for fault in faults.choose(["istiod-stopped", "wrong-service-account", "tls-switched-off"]):
        fault.plant(Site(kube, plain.istioctl, plain.config, plain.changes, mesh))
    assert kube.get("apps/v1", "Deployment", "istiod-stable", "mesh")["spec"]["replicas"] == 0
    assert kube.get("apps/v1", "Deployment", "istiod", "istio-system")["spec"]["replicas"] == 1
    policy = kube.get("security.istio.io/v1", "AuthorizationPolicy", "sabotage-wrong-account", "default")
    [rule] = policy["spec"]["rules"]
    assert rule["from"] == [{"source": {"principals": ["corp.example/ns/default/sa/nobody"]}}]
    found = kube.get("networking.istio.io/v1", "DestinationRule", "sabotage-no-tls", "default")
    assert found["spec"]["host"] == "reviews.default.svc.pasta.local"


def test_the_object_of_a_fault_is_named_as_causes_name_it() -> None:
    named = {each.name: planters.object_of(each, "shop") for each in faults.FAULTS}
    assert named["abort-10-percent"] == "VirtualService shop/sabotage-abort"
    assert named["scaled-to-0"] == "Deployment shop/ratings-v1"
    assert named["istiod-stopped"] == "Deployment */istiod*"
    assert named["never-restarted"] == "Pod shop/details-v1-*"
    assert named["edge-cut-by-firewall"] is None
    assert named["node-without-a-machine"] is None, "it is the cluster's, and routes no traffic"
    assert sum(each is not None for each in named.values()) >= 30, "of 40 faults 30 are configuration"


# Kinds of checks that no fault is planted for: an image is needed that is not there, or a setting that asks for them
# (tests/live has a fault of rotation; restarts are red on Istio's samples as they are).
ALONE = {"kiali", "restart", "rotation"}
ONE = {"uninstall", "teardown"}  # a check each, of one moment


def test_every_family_of_checks_has_two_faults_at_least() -> None:
    families = {check.partition(".")[0] for check in CATALOG} - ALONE
    caught = {
        name: {each.name for each in faults.FAULTS if any(c.startswith(f"{name}.") for c in each.must)}
        for name in families
    }
    assert {name for name, which in caught.items() if len(which) < 2} == ONE
    assert all(len(caught[name]) == 1 for name in ONE)
    last = [fault.name for fault in faults.FAULTS if fault.last]
    assert last == list(faults.NAMES[-2:]), "nothing is planted after the lab is gone"


def test_a_fault_of_the_removal_is_for_labs_that_are_removed() -> None:
    finalizer, mount = (fault for fault in faults.FAULTS if fault.last)
    ours, theirs = LabConfig(), LabConfig(cluster="existing", allow_changes=True)
    for fault in (finalizer, mount):
        assert "--keep was given" in faults.why_not(fault, ours, stays="--keep was given")
        assert faults.why_not(fault, ours) == ""
    assert faults.why_not(finalizer, theirs) == ""
    assert faults.why_not(mount, theirs) == "needs a node of the local cluster"
    [other] = faults.choose(["abort-10-percent"])
    assert faults.why_not(other, ours, stays="--keep was given") == ""


def test_what_a_finalizer_holds_is_gone_once_the_fault_is_taken_out(ledger: Ledger, run: RunRef) -> None:
    kube = lab()
    [fault] = faults.choose(["finalizer-without-controller"])
    fault.plant(site(kube, ledger, run))
    cert = ("v1", "ConfigMap", "istio-ca-root-cert", "default")
    assert kube.delete(*cert) and kube.get(*cert) is not None, "the control: nobody takes it away"
    restore_left(kube, ledger)
    assert kube.get(*cert) is None and ledger.entries() == ()


def test_a_mount_is_held_where_the_cluster_has_a_folder(ledger: Ledger, run: RunRef) -> None:
    class FakeMount:
        held = 0

        def occupy(self) -> None:
            self.held += 1

    [fault] = faults.choose(["mount-in-use"])
    plain, mount = site(lab(), ledger, run), FakeMount()
    fault.plant(replace(plain, mount=mount))
    assert mount.held == 1
    with pytest.raises(ClusterError, match="no folder"):
        fault.plant(plain)


def test_a_pod_that_was_never_restarted_stands_in_a_namespace_that_asks_for_sidecars(
    ledger: Ledger, run: RunRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube, asked = lab(), []
    before = dict(kube.store)
    restarted = fake_restarts(monkeypatch)

    def restart(*what: str) -> list:
        found = kube.get("v1", "Namespace", "default")
        asked.append((found or {})["metadata"]["labels"].get("istio-injection"))
        restarted.append(what[1:])
        return []

    monkeypatch.setattr(injection, "restart", restart)
    [fault] = faults.choose(["never-restarted"])
    fault.plant(site(kube, ledger, run))
    assert asked == [None] and kube.store == before and ledger.entries() == ()
    assert restarted == [("default", selector) for selector in fault.heal]


def test_a_fault_that_does_not_take_is_told(
    ledger: Ledger, run: RunRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_restarts(monkeypatch, sidecar=True)
    [fault] = faults.choose(["injector-gone"])
    with pytest.raises(IstioError, match="in spite of the fault"):
        fault.plant(site(lab(), ledger, run))


@pytest.mark.parametrize("name", ["scraped-twice", "label-dropped", "scraped-every-10-minutes"])
def test_a_fault_of_prometheus_needs_its_configuration(name: str, ledger: Ledger, run: RunRef) -> None:
    [fault] = faults.choose([name])
    with pytest.raises(KubeError, match="no ConfigMap istio-system/prometheus"):
        fault.plant(site(FakeKube(), ledger, run))


def test_a_service_is_replaced_by_a_headless_one_and_comes_back_with_its_address(
    ledger: Ledger, run: RunRef
) -> None:
    kube = lab()
    [fault] = faults.choose(["headless-service"])
    fault.plant(site(kube, ledger, run))
    assert kube.get("v1", "Service", "details", "default")["spec"]["clusterIP"] == "None"
    assert ("delete", "Service", "details") in kube.calls, "an address can't be changed in place"
    restore_left(kube, ledger)
    assert kube.get("v1", "Service", "details", "default")["spec"]["clusterIP"] == "10.0.0.7"
    with pytest.raises(KubeError, match="can't replace Service default/details: it is not there"):
        fault.plant(site(FakeKube(), ledger, run))


def test_a_network_policy_meets_no_connection_that_is_older(
    ledger: Ledger, run: RunRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes judge the first packet of a connection, and the callers' proxies keep theirs."""
    kube = lab()
    there: list[bool] = []

    def restart(kube: FakeKube, namespace: str, selector: str) -> list:
        found = kube.get("networking.k8s.io/v1", "NetworkPolicy", "sabotage-cut", namespace)
        there.append(found is not None and selector == "app=details,version=v1")
        return []

    monkeypatch.setattr(planters, "restart", restart)
    [fault] = faults.choose(["edge-cut-by-network-policy"])
    fault.plant(site(kube, ledger, run))
    assert there == [True], "first the policy, then the pods"


def test_an_address_is_taken_from_the_service_that_is_shadowed(ledger: Ledger, run: RunRef) -> None:
    kube = lab()
    [fault] = faults.choose(["shadowing-service-entry"])
    fault.plant(site(kube, ledger, run))
    found = kube.get("networking.istio.io/v1", "ServiceEntry", "sabotage-shadow", "default")
    assert found["spec"]["addresses"] == ["10.0.0.7"]
    with pytest.raises(KubeError, match="no Service details"):
        fault.plant(site(FakeKube(), ledger, run))
