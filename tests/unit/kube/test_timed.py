"""The real client library against a loopback server that goes and comes back."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from meshlab.core.errors import KubeError
from meshlab.kube.client import Kube
from tests.fakes.api_server import FakeApiServer
from tests.fakes.kube import make_pod

PODS = "/api/v1/namespaces/default/pods"


def test_a_server_that_restarts_is_waited_for_and_asked_again(tmp_path: Path) -> None:
    answers = {("GET", PODS): (200, {"items": [make_pod("a")]}), ("GET", "/readyz"): (200, "ok")}
    with FakeApiServer(answers) as before:
        kube = Kube.connect(before.kubeconfig(tmp_path / "config"), "fake")
        assert len(kube.pods("default")) == 1
        port = int(kube.host.rpartition(":")[2])
    came_back: list[FakeApiServer] = []
    again = threading.Timer(1.5, lambda: came_back.append(FakeApiServer(answers, port=port).__enter__()))
    again.start()
    try:
        assert len(kube.pods("default")) == 1
    finally:
        again.join()
        came_back[0].__exit__(None, None, None)
    assert [request[1] for request in came_back[0].requests] == ["/readyz", PODS]


def test_a_server_that_never_answered_is_not_waited_for(tmp_path: Path) -> None:
    with FakeApiServer({}) as gone:
        kube = Kube.connect(gone.kubeconfig(tmp_path / "config"), "fake")
    with pytest.raises(KubeError, match="no answer from the API server"):
        kube.server_version()
    assert not kube.api_client.answered
