"""The start page's server: loopback only, the names of loopback only, and a taken port is said before anything is touched."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

from meshlab.core.errors import MeshlabError
from meshlab.observability.pages.server import Page, PageServer, is_loopback, problems


@pytest.fixture
def server() -> Iterator[PageServer]:
    pages = {"/": Page(b"<p>it is here</p>"), "/a file": Page(b"{}", "application/json")}
    opened = PageServer(pages.get).open()
    yield opened
    opened.close()


def port_of(server: PageServer) -> int:
    return int(server.url.rpartition(":")[2].rstrip("/"))


def ask(
    server: PageServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=5)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.getheaders()}
    connection.close()
    return found


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST"])
def test_names_of_loopback_are_answered(server: PageServer, host: str) -> None:
    assert ask(server, "/", Host=host)[:2] == (200, "<p>it is here</p>")


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:80", "127.0.0.1.evil.test", "localhost@evil.test", "", "10.0.0.1", "[::1]:1"],
)
def test_a_page_that_points_its_own_name_at_loopback_reads_nothing(server: PageServer, host: str) -> None:
    status, body, _ = ask(server, "/", Host=host)
    assert status == 421 and "it is here" not in body
    assert not is_loopback(host)


def test_two_host_headers_are_refused(server: PageServer) -> None:
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\nConnection: close\r\n\r\n")
        assert raw.makefile("rb").readline().split()[1] == b"421"


def test_answers_say_that_nobody_else_may_read_or_frame_them(server: PageServer) -> None:
    _, _, headers = ask(server, "/")
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff" and "access-control-allow-origin" not in headers


def test_paths_are_decoded_and_unknown_ones_and_methods_refused(server: PageServer) -> None:
    assert ask(server, "/a%20file?x=1")[:2] == (200, "{}")
    assert ask(server, "/none")[0] == 404
    assert ask(server, "/", "HEAD")[:2] == (200, "")
    assert {ask(server, "/", method)[0] for method in ("POST", "PUT", "DELETE")} == {501}


def test_it_listens_on_loopback_only(server: PageServer) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    with socket.socket() as other:  # 127.0.0.2 is free at that port: the server is at one address
        other.bind(("127.0.0.2", port_of(server)))


def test_a_port_that_is_taken_is_a_clear_message(server: PageServer) -> None:
    port = port_of(server)
    [problem] = problems(port)
    assert problem.where == f"pages.port {port}" and "another program listens there" in problem.what
    with pytest.raises(MeshlabError, match=str(port)) as caught:
        PageServer(lambda path: None, port).open()
    assert "pages.port" in caught.value.remedy


def test_a_free_port_and_any_port_are_none() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    assert problems(port) == [] and problems(0) == []
    server = PageServer(lambda path: Page(b""), port).open()
    assert port_of(server) == port
    server.close()
    server.close()  # twice is fine
    assert problems(port) == []


def test_an_answer_that_fails_says_why_and_ends_nothing() -> None:
    def answer(path: str) -> Page:
        if path == "/bad":
            raise MeshlabError("the file can't be read", remedy="look at its folder")
        return Page(b"good")

    server = PageServer(answer).open()
    status, told, _ = ask(server, "/bad")
    assert status == 500 and "the file can't be read" in told and "look at its folder" in told
    assert ask(server, "/")[1] == "good"
    server.close()
