"""Runs inside a pod, handed to `python3 -c`: counts what passes on two interfaces at once.

Standard library only, Python 3.8 and newer. Needs CAP_NET_RAW. One packet socket is bound to each interface:
an unbound one would see both, and would find the application's own hop "on the wire".

argv[1]: JSON {wire, app (interfaces), port, peers (addresses), marker, seconds}. Prints "listening" when both
sockets are bound, then, when a line (or the end) comes on standard input or after `seconds`, the counts as
one line of JSON, with `stopped` true where it was told to end. Only TCP segments of `port` count; on the wire
only those of the peers.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections.abc import Set
from typing import Any

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_STATISTICS = 263, 6
PACKET_OUTGOING = 4  # on lo each packet comes twice: going out, and coming in
RECEIVE_BUFFER = 8 << 20
HTTP = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"PATCH ", b"OPTIONS ", b"HTTP/1.")


def parse(packet: bytes) -> tuple[str, str, int, int, bytes] | None:
    """(source, destination, source port, destination port, payload) of an IP packet with TCP, else None."""
    if len(packet) < 20:
        return None
    version = packet[0] >> 4
    if version == 4:
        if packet[9] != 6:
            return None
        header, total = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
        source, destination = (socket.inet_ntop(socket.AF_INET, packet[i : i + 4]) for i in (12, 16))
        segment = packet[header : total or len(packet)]  # beyond the length there is padding
    elif version == 6 and len(packet) >= 40 and packet[6] == 6:
        source, destination = (socket.inet_ntop(socket.AF_INET6, packet[i : i + 16]) for i in (8, 24))
        segment = packet[40 : 40 + (int.from_bytes(packet[4:6], "big") or len(packet))]
    else:
        return None
    if len(segment) < 20:
        return None
    from_port, to_port = int.from_bytes(segment[0:2], "big"), int.from_bytes(segment[2:4], "big")
    return source, destination, from_port, to_port, segment[(segment[12] >> 4) * 4 :]


def is_tls(payload: bytes) -> bool:
    """Whether a segment begins with a TLS record (RFC 8446, 5.1): type 20 to 23, version 3.x."""
    return len(payload) >= 5 and 20 <= payload[0] <= 23 and payload[1] == 3 and payload[2] <= 4


class Counts:
    """What one interface showed, by peer ("" where peers are not told apart)."""

    def __init__(self, port: int, peers: Set[str] | None, marker: bytes) -> None:
        self.port, self.peers, self.marker = port, peers, marker
        self.by_peer: dict[str, dict[str, int]] = {}
        self._tails: dict[tuple[str, int, str, int], bytes] = {}

    def add(self, packet: bytes) -> None:
        """Count a packet, if it is of the port and of a peer."""
        found = parse(packet)
        if found is None or self.port not in found[2:4]:
            return
        source, destination, source_port, destination_port, payload = found
        ends = (source, destination)
        peer = "" if self.peers is None else next((end for end in ends if end in self.peers), None)
        if peer is None:
            return
        count = self.by_peer.setdefault(
            peer, {"packets": 0, "bytes": 0, "payload": 0, "tls_records": 0, "http": 0, "marker": 0}
        )
        count["packets"] += 1
        count["bytes"] += len(packet)
        if not payload:
            return
        count["payload"] += len(payload)
        count["tls_records"] += is_tls(payload)
        count["http"] += payload.startswith(HTTP)
        # A marker that is cut by a segment's end is found with what came before on the same way.
        way = (source, source_port, destination, destination_port)
        text = self._tails.get(way, b"") + payload
        count["marker"] += text.count(self.marker)
        self._tails[way] = text[max(len(text) - len(self.marker) + 1, 0) :]


def open_socket(interface: str) -> socket.socket:
    """A packet socket that sees one interface only, without link headers."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.bind((interface, ETH_P_ALL))
    sock.setblocking(False)
    return sock


def drain(sock: socket.socket, counts: Counts) -> None:
    """Count every packet that waits in the socket."""
    while True:
        try:
            packet, address = sock.recvfrom(1 << 17)
        except BlockingIOError:
            return
        if address[0] == "lo" and address[2] == PACKET_OUTGOING:
            continue
        counts.add(packet)


def main() -> None:
    """Capture as argv[1] says."""
    wanted = json.loads(sys.argv[1])
    marker, port = wanted["marker"].encode(), wanted["port"]
    sides = {
        "wire": (open_socket(wanted["wire"]), Counts(port, set(wanted["peers"]), marker)),
        "app": (open_socket(wanted["app"]), Counts(port, None, marker)),
    }
    by_socket = dict(sides.values())
    print("listening", flush=True)
    deadline = time.monotonic() + wanted["seconds"]
    stopped = False
    while time.monotonic() < deadline:
        ready, _, _ = select.select([sys.stdin, *by_socket], [], [], 0.2)
        for sock in by_socket:
            drain(sock, by_socket[sock])
        if sys.stdin in ready:
            stopped = True
            break
    answer: dict[str, Any] = {"stopped": stopped}
    for side, (sock, counts) in sides.items():
        drain(sock, counts)
        statistics = sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)  # tp_packets, tp_drops
        drops = int.from_bytes(statistics[4:8], sys.byteorder)
        answer[side] = {"interface": wanted[side], "drops": drops, "peers": counts.by_peer}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
