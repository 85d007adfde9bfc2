"""The capture counts the port and the peers in question, and finds a marker wherever it is cut."""

from __future__ import annotations

import json
import socket
import struct

from meshlab.security.mtls.capture_program import Counts, is_tls, main, parse

MARKER = b"meshlabmarker"
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
RECORD = b"\x17\x03\x03\x00\x20" + b"x" * 32


def ipv4(
    payload: bytes, *, source: str = CLIENT, to: str = SERVER, ports: tuple[int, int] = (40000, 9080)
) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", *ports, 1, 1, 5 << 4, 24, 100, 0, 0) + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0)
    return header + socket.inet_aton(source) + socket.inet_aton(to) + tcp


def ipv6(payload: bytes) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", 40000, 9080, 1, 1, 5 << 4, 24, 100, 0, 0) + payload
    ends = socket.inet_pton(socket.AF_INET6, "fd00::1") + socket.inet_pton(socket.AF_INET6, "fd00::2")
    return struct.pack("!IHBB", 6 << 28, len(tcp), 6, 64) + ends + tcp


def counts(peers: set[str] | None = frozenset({CLIENT})) -> Counts:  # type: ignore[assignment]
    return Counts(9080, peers, MARKER)


def test_addresses_ports_and_payload_are_read_without_the_padding() -> None:
    assert parse(ipv4(b"abc") + b"\0\0\0") == (CLIENT, SERVER, 40000, 9080, b"abc")
    assert parse(ipv6(b"abc")) == ("fd00::1", "fd00::2", 40000, 9080, b"abc")


def test_what_is_no_tcp_is_passed_over() -> None:
    udp = bytearray(ipv4(b"abc"))
    udp[9] = 17
    for packet in (bytes(udp), b"", b"\x45" + b"\0" * 10, b"\x00" * 60):
        assert parse(packet) is None


def test_tls_records_are_told_from_http() -> None:
    found = counts()
    for payload in (RECORD, b"GET / HTTP/1.1\r\nuser-agent: " + MARKER, b"", b"HTTP/1.1 200 OK\r\n"):
        found.add(ipv4(payload))
    assert found.by_peer[CLIENT] | {"bytes": 0, "payload": 0} == {
        "packets": 4, "bytes": 0, "payload": 0, "tls_records": 1, "http": 2, "marker": 1,
    }  # fmt: skip
    assert is_tls(RECORD) and not is_tls(b"\x17\x03") and not is_tls(b"GET / ")


def test_other_ports_and_other_peers_do_not_count() -> None:
    found = counts()
    found.add(ipv4(MARKER, ports=(40000, 9081)))
    found.add(ipv4(MARKER, source="10.0.0.9"))
    assert found.by_peer == {}
    found.add(ipv4(MARKER, source=SERVER, to=CLIENT, ports=(9080, 40000)))  # the way back
    assert found.by_peer[CLIENT]["marker"] == 1


def test_a_marker_cut_in_two_is_found_once_and_only_on_its_own_way() -> None:
    found = counts()
    found.add(ipv4(b"..." + MARKER[:5]))
    found.add(ipv4(MARKER[5:], ports=(40001, 9080)))  # another connection
    assert found.by_peer[CLIENT]["marker"] == 0
    found.add(ipv4(MARKER[5:] + b"..."))
    found.add(ipv4(b"..."))
    assert found.by_peer[CLIENT]["marker"] == 1


def test_without_peers_all_are_one() -> None:
    found = Counts(9080, None, MARKER)
    found.add(ipv4(MARKER, source="127.0.0.6"))
    found.add(ipv4(MARKER))
    assert found.by_peer[""]["marker"] == 2


def test_it_hears_on_loopback_what_a_connection_says(monkeypatch, capsys) -> None:
    """The control of the program itself, where raw sockets are allowed: real packets on lo, each once."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM).close()
    except PermissionError:
        return  # an unprivileged machine: the live tests make this
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    reader, writer = socket.socketpair()

    class Speaker:
        """Standard input: speaks when the program first looks at it, then ends."""

        told = False

        def fileno(self) -> int:
            if not self.told:
                self.told = True
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(b"GET /" + MARKER)
                writer.close()
            return reader.fileno()

    wanted = {"wire": "lo", "app": "lo", "port": port, "peers": [], "marker": MARKER.decode(), "seconds": 5}
    monkeypatch.setattr("sys.argv", ["capture", json.dumps(wanted)])
    monkeypatch.setattr("sys.stdin", Speaker())
    main()
    server.close()
    reader.close()
    first, answer = capsys.readouterr().out.splitlines()
    assert first == "listening"
    found = json.loads(answer)
    assert found["wire"]["peers"] == {}
    assert found["app"]["peers"][""]["marker"] == 1
    assert found["app"]["drops"] == 0
