"""Captures start together, tell what they saw, and say when raw sockets are refused."""

from __future__ import annotations

import json

import pytest

from meshlab.core.errors import ExecError, KubeError
from meshlab.security.mtls.capture import CapturePlace, Captures, Seen, Target, parse, program
from tests.fakes.kube import FakeExecStream, FakeKube, exit_status

PLACE = CapturePlace("default", "details-1", "meshlab-capture-1")
COUNTS = {"packets": 4, "bytes": 400, "payload": 200, "tls_records": 2, "http": 0, "marker": 0}
ANSWER = {
    "wire": {"interface": "eth0", "drops": 1, "peers": {"10.0.0.1": COUNTS}},
    "app": {"interface": "lo", "drops": 2, "peers": {"": COUNTS | {"marker": 3}}},
    "stopped": True,
}


def kube(*streams: FakeExecStream) -> FakeKube:
    fake = FakeKube()
    fake.streams = list(streams)
    return fake


def test_a_capture_listens_before_anything_is_sent_and_answers_when_stopped() -> None:
    stream = FakeExecStream([(1, b"listening\n"), None, (1, json.dumps(ANSWER).encode() + b"\n")])
    fake = kube(stream)
    with Captures(fake, [Target(PLACE, 9080, ("10.0.0.1",))], "marker") as captures:
        [seen] = captures.stop()
    assert (seen.pod, seen.interfaces, seen.drops) == ("details-1", ("eth0", "lo"), 3)
    assert seen.wire == {"10.0.0.1": Seen(**COUNTS)}
    assert seen.app.marker == 3
    assert stream.written == [b"\n"]
    [(namespace, pod, container, argv, _)] = fake.opened
    assert (namespace, pod, container) == ("default", "details-1", "meshlab-capture-1")
    assert json.loads(argv[-1]) == {
        "wire": "eth0", "app": "lo", "port": 9080, "peers": ["10.0.0.1"], "marker": "marker", "seconds": 60.0,
    }  # fmt: skip


def test_refused_raw_sockets_are_told_from_other_failures() -> None:
    said = b"Traceback ...\nPermissionError: [Errno 1] Operation not permitted\n"
    refused = kube(FakeExecStream([(2, said)], exit_status(1)))
    with Captures(refused, [Target(PLACE, 9080, ())], "m") as captures, pytest.raises(KubeError) as caught:
        captures.stop()
    assert caught.value.status == 403
    failing = kube(FakeExecStream([(2, b"OSError: no such device\n")], exit_status(1)))
    with (
        Captures(failing, [Target(PLACE, 9080, ())], "m") as captures,
        pytest.raises(ExecError, match="no such"),
    ):
        captures.stop()


def test_a_capture_that_ran_out_of_time_says_so() -> None:
    assert parse("details-1", json.dumps(ANSWER)).to_the_end
    assert not parse("details-1", json.dumps(ANSWER | {"stopped": False})).to_the_end


def test_an_answer_of_something_else_is_refused() -> None:
    for text in ("", "[]", '{"wire": {}}'):
        with pytest.raises(ExecError, match="details-1 answered"):
            parse("details-1", text)


def test_what_runs_in_pods_needs_nothing_but_the_standard_library() -> None:
    for name in ("capture_program", "handshake_program"):
        assert "import meshlab" not in program(name) and "from meshlab" not in program(name)
        compile(program(name), name, "exec")
