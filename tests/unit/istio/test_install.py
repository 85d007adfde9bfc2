"""Installing follows the settings, uses an Istio that is there, and tells the cause when it fails."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import yaml

from meshlab.config.settings import LabConfig
from meshlab.core.errors import IstioError, RolloutError, WaitTimeout
from meshlab.istio import registries
from meshlab.istio.distribution import Distribution
from meshlab.istio.install import install, operator_document
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.operator_file import at
from meshlab.kube import causes, rollout
from meshlab.kube.apply import ObjectRef
from tests.fakes.clock import FakeClock
from tests.fakes.istioctl import FakeIstioctl, Said
from tests.fakes.mesh import FakeMesh, make_object

IMAGES = ("localhost/meshlab/pilot:abc", "localhost/meshlab/proxyv2:abc")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """What is read of the Istio module: the demo profile's values."""
    values = tmp_path / "manifests" / "helm-profiles" / "demo.yaml"
    values.parent.mkdir(parents=True)
    values.write_text("meshConfig: {extensionProviders: [{name: otel}]}")
    return tmp_path


def embedded(module: Path) -> Distribution:
    return Distribution("embedded", Path("istioctl"), "1.31.0-dev", module / "samples", IMAGES)


def release(module: Path, version: str = "1.30.0") -> Distribution:
    return Distribution("release", Path("istioctl"), version, module / "samples")


def config(cluster: str = "local", **istio: object) -> LabConfig:
    return LabConfig.model_validate({"cluster": cluster, "istio": istio})


def ready(name: str = "istiod") -> dict:
    made = make_object("apps/v1", "Deployment", name, "istio-system", app="istiod")
    counts = {
        "observedGeneration": 1,
        "replicas": 1,
        "readyReplicas": 1,
        "updatedReplicas": 1,
        "availableReplicas": 1,
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "istiod"}}}
    return {**made, "spec": spec, "status": counts}


def test_a_release_is_installed_as_the_user_asks_and_no_further(module: Path):
    document, overridden = operator_document(config("existing"), release(module, "1.29.8"))
    assert document["spec"] == {"profile": "demo"} and overridden == ()


@pytest.mark.parametrize("cluster", ["existing", "gke"])
def test_a_release_whose_registry_is_switched_off_gets_the_one_that_stays(
    module: Path, tmp_path: Path, cluster: str
):
    hub = registries.table().hub
    made = lambda version, **more: operator_document(config(cluster, **more), release(module, version))[0]  # noqa: E731
    assert made("1.30.5")["spec"] == {"profile": "demo", "hub": hub}
    for version in ("1.29.8", "1.31.1", "1.30.5-vendor"):
        assert "hub" not in made(version)["spec"], version
    for number, spec in enumerate(({"hub": "mirror.example.org"}, {"values": {"global": {"hub": "x"}}})):
        path = tmp_path / f"{number}.yaml"
        path.write_text(
            yaml.safe_dump({"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": spec})
        )
        assert made("1.30.5", operator_file=str(path))["spec"].get("hub") == spec.get("hub"), (
            "the user's stays"
        )


def test_the_embedded_one_gets_what_it_needs(module: Path):
    document, _ = operator_document(config(), embedded(module), IMAGES)
    assert (at(document, "spec.hub"), at(document, "spec.tag")) == ("localhost/meshlab", "abc")
    names = [each["name"] for each in at(document, "spec.meshConfig.extensionProviders")]
    assert names == ["otel", "prometheus", "jaeger", "zipkin"], (
        "a list replaces the profile's, so it must repeat it"
    )
    assert at(document, "spec.meshConfig.defaultConfig.drainDuration") == "5s"


def test_the_cni_agent_comes_on_the_local_cluster_that_asked_for_it(module: Path):
    asked = LabConfig.model_validate(
        {"cluster": "local", "local": {"cni": True}, "istio": {"profile": "demo"}}
    )
    with pytest.raises(IstioError, match="install-cni"):
        operator_document(asked, embedded(module), IMAGES)
    document, _ = operator_document(asked, embedded(module), (*IMAGES, "localhost/meshlab/install-cni:def"))
    assert (
        at(document, "spec.components.cni.enabled") is True and at(document, "spec.values.cni.tag") == "def"
    )
    without, _ = operator_document(config(), embedded(module), IMAGES)
    assert at(without, "spec.components.cni") is None


def test_drain_is_shortened_on_clusters_of_ours_only(module: Path):
    elsewhere = config("existing", distribution="embedded")
    document, _ = operator_document(elsewhere, embedded(module), IMAGES)
    assert at(document, "spec.meshConfig.defaultConfig.drainDuration") is None


@pytest.mark.parametrize(
    ("cluster", "pull", "hub", "policy"),
    [
        ("local", None, True, "IfNotPresent"),
        ("local", "never", False, "IfNotPresent"),
        ("existing", None, True, None),
    ],
)
def test_a_release_on_nodes_without_a_way_out_pulls_nothing_there(
    module: Path, cluster: str, pull: str | None, hub: bool, policy: str | None
) -> None:
    given = {"cluster": cluster, "istio": {"distribution": "release"}, "local": {"pull": pull}}
    document, _ = operator_document(LabConfig.model_validate(given), release(module))
    assert (at(document, "spec.hub") == registries.table().hub) is hub
    assert at(document, "spec.values.global.imagePullPolicy") == policy


def test_the_users_file_is_merged_and_its_drain_stays(module: Path, tmp_path: Path):
    path = tmp_path / "operator.yaml"
    spec = {"profile": "minimal", "hub": "other", "meshConfig": {"defaultConfig": {"drainDuration": "9s"}}}
    path.write_text(
        yaml.safe_dump({"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": spec})
    )
    document, overridden = operator_document(config(operator_file=path), embedded(module), IMAGES)
    assert at(document, "spec.profile") == "minimal"
    assert at(document, "spec.meshConfig.defaultConfig.drainDuration") == "9s"
    assert [line.split(":")[0] for line in overridden] == ["spec.hub"]


def test_the_metrics_are_configured_before_it_returns(module: Path):
    kube = FakeMesh([ready()])
    fake = FakeIstioctl({"install": Said(stderr="|\\ ship\n✔ Istiod installed\n")})
    heard = []
    result = install(
        config(), embedded(module), kube, Istioctl(Path("istioctl"), runner=fake), progress=heard.append
    )
    assert ("apply", "EnvoyFilter", "standard-metrics") in kube.calls
    assert (result.reused, result.profile, result.deployments) == (False, "demo", ("istiod",))
    assert yaml.safe_load(fake.inputs[0] or "") == result.operator
    assert [update.detail for update in heard if update.what == "install Istio"] == ["✔ Istiod installed"]


def test_names_that_the_cluster_and_the_users_file_give_are_those_of_the_mesh(module: Path, tmp_path: Path):
    path = tmp_path / "operator.yaml"
    spec = {"meshConfig": {"rootNamespace": "mesh-config"}, "values": {"global": None}}
    path.write_text(
        yaml.safe_dump({"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": spec})
    )
    asked = LabConfig.model_validate(
        {"istio": {"operator_file": path}, "local": {"cluster_domain": "corp.local"}}
    )
    kube = FakeMesh([ready()])
    tool = Istioctl(Path("istioctl"), runner=FakeIstioctl({"install": Said()}))
    document = install(asked, embedded(module), kube, tool).operator
    assert at(document, "spec.values.global.proxy.clusterDomain") == "corp.local"
    providers = {each["name"]: each for each in at(document, "spec.meshConfig.extensionProviders")}
    collector = providers["jaeger"]["opentelemetry"]["service"]
    assert collector == "jaeger-collector.istio-system.svc.corp.local"
    # The metrics of the whole mesh are configured in its root namespace, which nobody else makes.
    assert kube.get("v1", "Namespace", "mesh-config") is not None
    assert kube.get("networking.istio.io/v1alpha3", "EnvoyFilter", "standard-metrics", "mesh-config")
    assert not kube.get("networking.istio.io/v1alpha3", "EnvoyFilter", "standard-metrics", "istio-system")


def test_where_nobody_named_a_domain_istiod_is_told_none(module: Path):
    document, _ = operator_document(config(), embedded(module), IMAGES)
    assert at(document, "spec.values.global.proxy.clusterDomain") is None


def test_a_release_needs_no_envoy_filter(module: Path):
    kube = FakeMesh([ready()])
    tool = Istioctl(Path("istioctl"), runner=FakeIstioctl({"install": Said()}))
    install(config(distribution="release"), release(module), kube, tool)
    assert kube.calls == []


def test_an_istio_that_is_there_is_used_and_not_touched(module: Path):
    kube = FakeMesh([ready("istiod-canary")])
    result = install(
        config("existing"), release(module), kube, Istioctl(Path("istioctl"), runner=FakeIstioctl({}))
    )
    assert result.reused and result.deployments == ("istiod-canary",) and kube.calls == []


def test_an_istio_in_a_namespace_of_its_own_is_awaited_there(module: Path):
    control_plane = ready("istiod-canary")
    control_plane["metadata"]["namespace"] = "mesh-control"
    elsewhere = make_object("apps/v1", "Deployment", "team-gateway", "team", istio="ingressgateway")
    result = install(
        config("existing"), release(module), FakeMesh([control_plane, elsewhere]), Istioctl(Path("i"), runner=FakeIstioctl({})),
    )  # fmt: skip
    assert [str(each) for each in result.refs] == [
        str(ObjectRef("apps/v1", "Deployment", "mesh-control", "istiod-canary"))
    ]


def test_an_installation_that_this_run_began_is_gone_on_with(module: Path):
    """A run that goes on, on a cluster that is not ours: what is there is its own, half made."""
    fake = FakeIstioctl({"install": Said()})
    tool = Istioctl(Path("i"), runner=fake)
    assert not install(config("existing"), embedded(module), FakeMesh([ready()]), tool, begun=True).reused
    assert len(fake.commands) == 1


def test_on_a_cluster_of_ours_it_is_applied_again(module: Path):
    """An interrupted run may have left it half installed."""
    fake = FakeIstioctl({"install": Said()})
    assert not install(
        config(), embedded(module), FakeMesh([ready()]), Istioctl(Path("i"), runner=fake)
    ).reused
    assert len(fake.commands) == 1


def broken(reason: str) -> list[dict]:
    """Istiod's Deployment, and its pod whose image can't be had."""
    waiting = {"waiting": {"reason": reason, "message": "not found"}}
    pod = {
        **make_object("v1", "Pod", "istiod-1", "istio-system", app="istiod"),
        "spec": {"containers": [{"name": "discovery", "image": "hub/pilot:1"}]},
        "status": {
            "phase": "Pending",
            "containerStatuses": [{"name": "discovery", "state": waiting, "ready": False}],
        },
    }
    return [{**ready(), "status": {}}, pod]


def test_a_failure_brings_the_cause_along(module: Path):
    fake = FakeIstioctl({"install": Said(stderr="timed out waiting for the condition", returncode=1)})
    with pytest.raises(IstioError, match=r"timed out.*hub/pilot:1"):
        install(
            config(),
            embedded(module),
            FakeMesh(broken("ErrImagePull")),
            Istioctl(Path("istioctl"), runner=fake),
        )


def test_a_cause_that_does_not_heal_ends_istioctl_at_once(module: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rollout, "CAUSES_EVERY", 0.0)
    monkeypatch.setattr(causes, "AT_ONCE", 0.0)
    fake = FakeIstioctl({"install": Said(until_stopped=True)})
    with pytest.raises(RolloutError, match="hub/pilot:1"):
        install(
            config(),
            embedded(module),
            FakeMesh(broken("ErrImageNeverPull")),
            Istioctl(Path("i"), runner=fake),
        )


def test_the_stop_event_ends_istioctl(module: Path):
    stop = threading.Event()
    stop.set()
    fake = FakeIstioctl({"install": Said(until_stopped=True)})
    with pytest.raises(IstioError, match="stopped"):
        install(config(), embedded(module), FakeMesh(), Istioctl(Path("i"), runner=fake), stop=stop)


def test_images_that_are_nowhere(module: Path):
    bare = Distribution("embedded", Path("istioctl"), "1.31.0-dev", module / "samples")
    with pytest.raises(WaitTimeout, match="pilot and proxyv2"):
        install(config(), bare, FakeMesh(), Istioctl(Path("i"), runner=FakeIstioctl({})), clock=FakeClock())


def test_images_that_a_node_reports_late(module: Path):
    kube, bare = (
        FakeMesh([ready()]),
        Distribution("embedded", Path("istioctl"), "1.31.0-dev", module / "samples"),
    )
    node = {**make_object("v1", "Node", "n"), "status": {"images": [{"names": [image]} for image in IMAGES]}}
    clock = FakeClock(on_sleep=lambda now: kube.put(node) if now > 5 else None)
    tool = Istioctl(Path("istioctl"), runner=FakeIstioctl({"install": Said()}))
    result = install(config(), bare, kube, tool, clock=clock)
    assert result.operator["spec"]["tag"] == "abc" and clock.now() > 5
