from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Mapping

import pytest

from meshlab.clusters.local import netfilter
from meshlab.clusters.local.netfilter import Netfilter
from tests.fakes.runner import FakeRunner

PROBE = ("unshare", "--net", sys.executable, "-m", "meshlab.clusters.local.netfilter")
IPTABLES = ("unshare", "--net", *netfilter.RESTORE)
NO_QUEUE = "a rule of nftables with a queue: No such file or directory\n"


class FakeKernel:
    """A netlink socket: acknowledges what it is sent, but refuses the messages of `refused` (number → errno)."""

    def __init__(self, refused: Mapping[int, int]) -> None:
        self.refused = refused
        self.answers: list[bytes] = []

    def send(self, sent: bytes) -> None:
        while sent:
            length, _, flags, number = struct.unpack_from("=IHHI", sent)
            assert length % 4 == 0, "messages are aligned"
            if flags & netfilter.ACK or number in self.refused:
                error = struct.pack("=i", -self.refused.get(number, 0)) + sent[:16]
                self.answers.append(
                    struct.pack("=IHHII", 16 + len(error), netfilter.ERROR, 0, number, 0) + error
                )
            sent = sent[length:]

    def recv(self, size: int) -> bytes:
        assert self.answers, "it would wait for an answer that never comes"
        found, self.answers = b"".join(self.answers), []
        return found


def test_a_kernel_with_nftables_queue_needs_nothing_else() -> None:
    assert netfilter.ask(FakeRunner({PROBE: "ok\nok\n"})) == Netfilter()


def test_without_nftables_queue_the_very_rules_are_tried_with_iptables() -> None:
    runner = FakeRunner({PROBE: f"ok\n{NO_QUEUE}", IPTABLES: ""})
    found = netfilter.ask(runner)
    assert found.nftables == NO_QUEUE.strip() and found.refusal == ""
    assert runner.inputs == [None, netfilter.iptables_rules("192.0.2.0/24")]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({PROBE: "a netfilter queue: Operation not permitted\nok\n"}, ["a netfilter queue", "not permitted"]),
        ({PROBE: f"ok\n{NO_QUEUE}", IPTABLES: 4}, ["No such file or directory", "ended with 4"]),
        ({PROBE: 1}, ["ended with 1"]),
        ({PROBE: "Traceback\n"}, ["no answer", "Traceback"]),
    ],
)
def test_what_the_kernel_refuses_is_the_reason(
    answers: dict[tuple[str, ...], str | int | Callable[[tuple[str, ...]], str]], words: list[str]
) -> None:
    refusal = netfilter.ask(FakeRunner(answers)).refusal
    assert all(word in refusal for word in words), refusal


def test_the_rules_pass_root_and_open_connections_and_queue_the_pods_both_ways() -> None:
    lines = netfilter.iptables_rules("10.1.16.0/24").splitlines()
    assert lines[0] == "*mangle" and lines[-1] == "COMMIT", "before sources are rewritten, in one transaction"
    rules = [line.removeprefix("-A POSTROUTING ") for line in lines[1:-1]]
    assert [rule.rpartition("-j ")[2].split()[0] for rule in rules] == ["ACCEPT", "ACCEPT", *["NFQUEUE"] * 2]
    assert "--uid-owner 0" in rules[0] and "ESTABLISHED" in rules[1]
    assert [re.findall(r"-[sd] \S+", rule) for rule in rules[2:]] == [
        ["-s 10.1.16.0/24"],
        ["-d 10.1.16.0/24"],
    ]
    assert not any("bypass" in rule for rule in rules), "nothing passes while nobody listens"


@pytest.mark.parametrize(("number", "name"), [(1, "a transaction"), (4, "a rule of nftables with a queue")])
def test_the_first_refused_message_is_named(number: int, name: str) -> None:
    kernel = FakeKernel({number: 2})
    said = netfilter._refused(kernel, netfilter.rules())  # type: ignore[arg-type]
    assert said.startswith(name) and said.endswith("No such file or directory")


def test_a_kernel_that_takes_all_refuses_nothing() -> None:
    for messages in (netfilter.rules(), netfilter.bound()):
        assert netfilter._refused(FakeKernel({}), messages) == ""  # type: ignore[arg-type]
