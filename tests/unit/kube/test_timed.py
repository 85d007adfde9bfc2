"""The real client library against a loopback server that goes and comes back."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import yaml

from meshlab.core.errors import KubeError
from meshlab.kube.client import Kube
from meshlab.kube.timed import yaml_of
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


@pytest.mark.parametrize("text", ["a 😀 b", "é", "\x7f", "\\ud83d\\ude00", "\u2028", "plain"])
def test_what_is_applied_is_yaml_whatever_its_characters(text: str) -> None:
    """Istio's dashboards have a character beyond U+FFFF; the API server refused their ConfigMap."""
    written = yaml_of({"data": {"a.json": text}})
    assert yaml.safe_load(written) == json.loads(written) == {"data": {"a.json": text}}
    assert "\\ud83d" not in written.replace("\\\\", "")
