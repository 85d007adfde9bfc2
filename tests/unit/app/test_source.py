from __future__ import annotations

import pytest

from meshlab.app.source import Source, find_source
from meshlab.core.errors import KubeError
from tests.fakes.kube import FakeKube, make_pod


def test_first_ready_pod_and_its_application_container() -> None:
    unready = make_pod("a", labels={"app": "sleep"}, conditions=[{"type": "Ready", "status": "False"}])
    kube = FakeKube([unready, make_pod("b", labels={"app": "sleep"}), make_pod("c", labels={"app": "other"})])
    assert find_source(kube, "default") == Source("default", "b", "app", "uid-b")  # type: ignore[arg-type]
    assert find_source(kube, "default", "app=other").container == "app"  # type: ignore[arg-type]


def test_a_sidecar_is_never_the_source() -> None:
    pod = make_pod("a", labels={"app": "sleep"})
    pod["spec"]["containers"] = [{"name": "istio-proxy"}, {"name": "sleep"}]
    assert find_source(FakeKube([pod]), "default").container == "sleep"  # type: ignore[arg-type]


def test_nobody_there() -> None:
    with pytest.raises(KubeError, match="no Ready pod app=sleep in default") as caught:
        find_source(FakeKube(), "default")  # type: ignore[arg-type]
    assert caught.value.retryable
