"""The purge, then our own removal of what it leaves, each with an inventory."""

from __future__ import annotations

from pathlib import Path

from meshlab.istio.istioctl import Istioctl
from meshlab.istio.uninstall import remove_leftovers, uninstall
from tests.fakes.istioctl import FakeIstioctl, Said
from tests.fakes.kube import make_pod
from tests.fakes.mesh import FakeMesh, make_object


def installed() -> FakeMesh:
    prometheus = make_object("apps/v1", "Deployment", "prometheus", "istio-system")
    return FakeMesh(
        [
            make_object("v1", "Namespace", "istio-system"),
            make_object("v1", "Namespace", "default", istio_injection="enabled", team="a"),
            make_object("v1", "Namespace", "theirs", istio_injection="enabled"),
            make_object("v1", "ConfigMap", "istio-ca-root-cert", "default"),
            make_object("v1", "ConfigMap", "istio-ca-root-cert", "istio-system"),
            make_object("v1", "ConfigMap", "mine", "default"),
            {**prometheus, "spec": {}},
            make_pod("prometheus-1", namespace="istio-system"),
            make_pod("sleep-1"),
            make_pod("web-1", namespace="theirs"),
        ]
    )


def named(kube: FakeMesh, kind: str) -> set[str]:
    return {f"{namespace or ''}/{name}" for _, its, namespace, name in kube.store if its == kind}


def test_nothing_is_left_and_what_the_purge_left_is_told():
    kube = installed()
    fake = FakeIstioctl({"uninstall": Said("Uninstall complete")})
    result = uninstall(kube, Istioctl(Path("istioctl"), runner=fake))
    assert fake.commands == [("istioctl", "uninstall", "--purge", "--skip-confirmation")]
    assert result.before["sidecar"] and result.left_by_purge["Namespace"] == ("istio-system",)
    assert not any(result.after.values())
    assert "namespace label default" in result.removed and "Namespace istio-system" in result.removed
    assert "Pod default/sleep-1" in result.removed and result.output.startswith("Uninstall complete")
    assert named(kube, "ConfigMap") == {"default/mine"}
    assert kube.get("v1", "Namespace", "default")["metadata"]["labels"] == {"team": "a"}


def test_what_lives_in_a_namespace_that_goes_is_not_deleted_one_by_one():
    kube = installed()
    remove_leftovers(
        kube, {"Namespace": ("istio-system",), "ConfigMap": ("istio-system/istio-ca-root-cert",)}, timeout=5
    )
    assert ("delete", "ConfigMap", "istio-ca-root-cert") not in kube.calls
    order = [call for call in kube.calls if call[2] in ("prometheus", "prometheus-1", "istio-system")]
    assert order.index(("delete", "Deployment", "prometheus")) < order.index(
        ("delete", "Pod", "prometheus-1")
    )
    assert order[-1] == ("delete", "Namespace", "istio-system"), (
        "a namespace with pods takes half their grace"
    )


def test_other_peoples_namespaces_are_left_alone():
    kube = installed()
    left = {"namespace label": ("default", "theirs"), "sidecar": ("default/sleep-1", "theirs/web-1")}
    removed = remove_leftovers(kube, left, timeout=5, namespaces={"default"})
    assert removed == ("namespace label default", "Pod default/sleep-1")
    assert "theirs/web-1" in named(kube, "Pod")
    assert kube.get("v1", "Namespace", "theirs")["metadata"]["labels"] == {"istio-injection": "enabled"}


def test_it_may_run_twice():
    kube = FakeMesh([make_object("v1", "Namespace", "default")])
    fake = FakeIstioctl({"uninstall": Said()})
    result = uninstall(kube, Istioctl(Path("istioctl"), runner=fake))
    assert result.removed == () and not any(result.before.values()) and not any(result.after.values())


def test_what_was_there_before_a_call_that_was_cut_off_is_the_control():
    kube = FakeMesh([make_object("v1", "Namespace", "default")])
    before = {"Deployment": ("istio-system/istiod",)}
    result = uninstall(
        kube, Istioctl(Path("istioctl"), runner=FakeIstioctl({"uninstall": Said()})), before=before
    )
    assert result.before == before and result.removed == ()
