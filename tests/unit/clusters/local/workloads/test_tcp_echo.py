"""The TCP echo over real sockets on loopback: prefix, many lines, both ends of a connection's life."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshlab.clusters.local.workloads import tcp_echo

PROGRAM = Path(tcp_echo.__file__)


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    with tcp_echo.Server(0, "hello", "127.0.0.1") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield "127.0.0.1", server.server_address[1]
        server.shutdown()


def test_each_line_comes_back_behind_the_prefix(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=5) as connection, connection.makefile("rwb") as stream:
        for line in (b"one\n", b"two words\n", b"\n"):
            stream.write(line)
            stream.flush()
            assert stream.readline() == b"hello " + line


def test_the_connection_ends_when_the_client_has_no_more(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(b"whole\nhalf")
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(100):
            answer += part
    assert answer == b"hello whole\n"


def test_a_line_without_end_is_cut_off(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(b"x" * tcp_echo.LONGEST)
        assert connection.recv(1) == b""


@pytest.mark.parametrize("words", [[], ["9000"], ["http", "hello"], ["9000,", "hello"], ["1", "a", "b"]])
def test_other_words_are_answered_with_the_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        tcp_echo.main(words)
    assert end.value.code == 2 and "usage" in capsys.readouterr().err


def test_the_program_serves_every_port_and_ends_at_sigterm() -> None:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1], two.getsockname()[1]]
    words = [sys.executable, "-u", str(PROGRAM), ",".join(map(str, ports)), "hi"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert [program.stdout.readline().split()[2].rstrip(",") for _ in ports] == [
            str(port) for port in ports
        ]
        for port in ports:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(b"hello mesh\n")
                assert connection.recv(100) == b"hi hello mesh\n"
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0
