"""The next pod begins before the last one ends, and every request of both is in the book."""

from __future__ import annotations

from pathlib import Path

from meshlab.app.budget import Budget, RequestBook
from meshlab.app.relay import Relay
from meshlab.app.source import Source
from tests.fakes.kube import FakeExecStream, FakeKube


def source(pod: str) -> Source:
    return Source("client", pod, "client", f"uid-{pod}")


def stream(*lines: str) -> FakeExecStream:
    """Says the lines, waits until it is asked to stop, and ends."""
    text = "".join(f"{line}\n" for line in ("B 0", *lines))
    return FakeExecStream([(1, text.encode()), None, (1, f"E {len(lines)}\n".encode())])


def relay(path: Path, *streams: FakeExecStream) -> Relay:
    kube = FakeKube()
    kube.streams = list(streams)
    return Relay(kube, "http://productpage:9080/productpage", RequestBook(path), Budget())  # type: ignore[arg-type]


def test_it_is_handed_from_pod_to_pod_without_a_lost_request(tmp_path: Path) -> None:
    first, second = stream("R 1 200 0.010 0", "R 2 200 0.010 0"), stream("R 1 200 0.010 0")
    sending = relay(tmp_path / "r.csv", first, second)
    sending.begin(source("a"))
    sending.hand_over(source("b"))
    assert first.written == [b"stop\n"] and second.written == []
    spent, errors = sending.end()
    assert (spent.requests, spent.failed, errors) == (3, 0, ())
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 4


def test_a_broken_budget_and_a_loop_that_is_cut_off_are_trouble(tmp_path: Path) -> None:
    bad = relay(tmp_path / "a.csv", stream(*(f"R {n} 503 0.010 0" for n in range(1, 5))))
    bad.begin(source("a"))
    assert len(bad.trouble()) == 2, "four in a row, and more than one in a thousand"
    bad.end()
    cut = relay(tmp_path / "b.csv", FakeExecStream([(1, b"B 0\nR 1 200 0.010 0\n")]))
    cut.begin(source("a"))
    cut._loops[0].join(5)
    assert len(cut.trouble()) == 1
