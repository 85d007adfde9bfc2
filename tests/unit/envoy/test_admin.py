"""One port-forward per pod and port, kept open until the end."""

from __future__ import annotations

import pytest

from meshlab.core.errors import QueryError
from meshlab.envoy import admin
from tests.fakes.http_server import FakeHttpServer, Reply
from tests.fakes.kube import FakeKube


def test_pages_share_a_port_forward_which_ends_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int]] = []
    closed: list[str] = []
    with FakeHttpServer({"/stats": lambda params: Reply({"asked": params})}) as server:

        class Forward:
            last_error = None
            url = server.url

            def __init__(self, kube: FakeKube, *, namespace: str, pod: str, port: int) -> None:
                self.pod = pod
                opened.append((pod, port))

            def open(self) -> Forward:
                return self

            def close(self) -> None:
                closed.append(self.pod)

        monkeypatch.setattr(admin, "PortForward", Forward)
        with admin.PodPages(FakeKube()) as pages:
            for pod, port in (("a", 15000), ("a", 15000), ("a", 8080), ("b", 15000)):
                assert pages.json("default", pod, port, "/stats", {"filter": "x"}) == {
                    "asked": {"filter": ["x"]}
                }
            with pytest.raises(QueryError, match="answered /missing with 404"):
                pages.json("default", "a", 15000, "/missing")
    assert opened == [("a", 15000), ("a", 8080), ("b", 15000)]
    assert sorted(closed) == ["a", "a", "b"]
