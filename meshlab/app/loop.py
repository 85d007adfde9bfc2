"""The document's loop, `while true; do curl productpage:9080/productpage; sleep S; done`, counted exactly.

It runs inside the pod by one exec, so a request costs no API call, and each one is recorded from the line
it writes.
"""

from __future__ import annotations

import itertools
import logging
import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from meshlab.app.curl import parse_answer
from meshlab.app.latency import latency
from meshlab.app.script import LEFTOVER_WAIT, loop_argv
from meshlab.app.source import Source
from meshlab.core.errors import ExecError, KubeError, MeshlabError, WaitTimeout
from meshlab.kube.client import Kube
from meshlab.kube.exec import stream_in_pod

log = logging.getLogger(__name__)
RUN = uuid.uuid4().hex[:12]  # this process's loops; loops of others in the pod are leftovers
SILENCE = 15.0  # seconds beyond the longest pause and request after which the stream counts as dead
LONGEST = 24 * 3600.0  # seconds that a loop may run
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Request:
    """One request of the loop.

    number: from 1. status: the HTTP status ("echo" for a TCP payload that came back), "000" without one.
    ms: total time in milliseconds. started: when it was sent, by this machine's clock (arrival of its line
    less its time; some ms late). exit_code: curl's, 0 when it got an answer.
    """

    number: int
    status: str
    ms: float
    started: datetime
    exit_code: int

    @property
    def ended(self) -> datetime:
        """When its answer was there, or was given up."""
        return self.started + timedelta(milliseconds=self.ms)


@dataclass(frozen=True)
class TrafficResult:
    """What a loop sent.

    sent: requests whose outcome is known. by_status: HTTP status → requests, "000" for those without an
    answer. exit_codes: curl's exit codes other than 0 → requests. Times in milliseconds, None without
    requests. seconds: from the first request's start to the last one's end; rate: requests per second over
    it. errors: why the counts may be wrong (a broken stream, lost lines); empty means that every request
    that was sent is in the counts.
    """

    sent: int
    by_status: Mapping[str, int]
    exit_codes: Mapping[int, int]
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    mean_ms: float | None
    max_ms: float | None
    seconds: float
    rate: float
    first: datetime | None
    last: datetime | None
    leftovers_ended: int
    errors: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether every request that was sent is in the counts."""
        return not self.errors


class RequestLoop:
    """Requests from inside a pod, at a pace, until stopped. A context manager that starts and drains; used once.

    source: the pod and container. url: as seen from the pod, http://… or telnet://… for a TCP echo. interval:
    seconds between the end of a request and the next, or a (low, high) range to draw each pause from. count:
    end after so many (None: until stopped).
    """

    def __init__(
        self,
        kube: Kube,
        source: Source,
        url: str,
        *,
        interval: float | tuple[float, float] = 0.3,
        count: int | None = None,
        request_timeout: float = 15.0,
    ) -> None:
        self._kube, self._source = kube, source
        self._longest_gap = request_timeout + (max(interval) if isinstance(interval, tuple) else interval)
        self._argv = loop_argv(
            url,
            run=RUN,
            name=str(next(_numbers)),
            interval=interval,
            count=count,
            request_timeout=request_timeout,
        )
        self._stop = threading.Event()
        self._begun = threading.Event()
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._errors: list[str] = []
        self._leftovers = 0
        self._told_sent: int | None = None
        self._failure: MeshlabError | None = None
        self._thread = threading.Thread(target=self._run, name=f"request loop {url}", daemon=True)

    def start(self, timeout: float = 30.0 + LEFTOVER_WAIT) -> RequestLoop:
        """Start the loop and return when it runs. Raises KubeError or ExecError when it can't be started."""
        self._thread.start()
        if not self._begun.wait(timeout):
            self._stop.set()
            raise WaitTimeout(
                f"the request loop in {self._source.namespace}/{self._source.pod} to begin",
                last="no line came from the pod",
                seconds=timeout,
                remedy="look at the pod and at the API server's connection to its node",
            )
        if self._failure is not None:
            raise self._failure
        return self

    def ask_to_stop(self) -> None:
        """Let the loop end after the request under way, without waiting for it."""
        self._stop.set()

    def stop_and_drain(self) -> TrafficResult:
        """Let the request under way finish, end the loop and return what was sent. May be called twice."""
        self._stop.set()
        return self.join(self._longest_gap + 2 * SILENCE)

    def join(self, timeout: float) -> TrafficResult:
        """Wait for the end of a loop with a count, and return what was sent.

        timeout: seconds; a loop that ends later has an error in its result.
        """
        self._thread.join(timeout)
        if self._thread.is_alive():
            with self._lock:
                self._errors.append(f"the loop did not end within {timeout:.0f} s")
        return self.snapshot()

    def snapshot(self) -> TrafficResult:
        """What is known now; while the loop runs, the request under way is not in it."""
        with self._lock:
            requests, errors, ended = list(self._requests), list(self._errors), not self._thread.is_alive()
        if ended:
            errors += self._miscounts(len(requests))
        return _result(requests, self._leftovers, tuple(errors))

    def records(self) -> tuple[Request, ...]:
        """Every request that is known now, in the order in which they were sent."""
        with self._lock:
            return tuple(self._requests)

    @property
    def running(self) -> bool:
        """Whether the loop still sends."""
        return self._thread.is_alive()

    def __enter__(self) -> RequestLoop:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop_and_drain()

    # ── the recording thread ──

    def _run(self) -> None:
        source = self._source
        try:
            done = stream_in_pod(
                self._kube,
                source.namespace,
                source.pod,
                source.container,
                self._argv,
                on_line=self._record,
                timeout=LONGEST,
                stop=self._stop,
                stop_input="stop\n",
                idle_timeout=self._longest_gap + LEFTOVER_WAIT + SILENCE,
            )
            if done.returncode != 0:
                self._fail(ExecError(f"the loop ended with {done.returncode}: {done.stderr.strip()[-500:]}"))
        except KubeError as problem:
            self._fail(problem)
        finally:
            self._begun.set()

    def _fail(self, problem: MeshlabError) -> None:
        with self._lock:
            self._errors.append(problem.message)
            if not self._begun.is_set() and self._failure is None:
                self._failure = problem

    def _record(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        if kind == "R":
            self._record_request(line)
        elif kind == "B":
            self._leftovers = int(rest)
            if self._leftovers:
                log.warning("ended %d processes of an earlier loop in %s", self._leftovers, self._source.pod)
            self._begun.set()
        elif kind == "E":
            self._told_sent = int(rest)
        elif kind == "X":
            self._fail(ExecError(rest, returncode=127, remedy="send from a container that has sh and curl"))
        else:
            self._fail(ExecError(f"a line that the loop does not write: {line[:200]!r}"))

    def _record_request(self, line: str) -> None:
        answer = parse_answer(line)
        if answer is None:
            self._fail(
                ExecError(
                    f"request {' '.join(line.split()[1:2])} was under way when its line was cut: {line!r}"
                )
            )
            return
        started = datetime.now(UTC) - timedelta(seconds=answer.seconds)
        request = Request(answer.number, answer.status, answer.seconds * 1000, started, answer.exit_code)
        with self._lock:
            self._requests.append(request)

    def _miscounts(self, received: int) -> list[str]:
        if self._told_sent is None:
            return ["the loop did not tell how many it sent"] if not self._errors else []
        if self._told_sent != received:
            return [f"the loop sent {self._told_sent} requests, {received} lines of them arrived"]
        return []


def _result(requests: list[Request], leftovers: int, errors: tuple[str, ...]) -> TrafficResult:
    times = latency([request.ms for request in requests])
    first = requests[0].started if requests else None
    last = requests[-1].started if requests else None
    seconds = 0.0
    if first is not None and last is not None:
        seconds = (last - first).total_seconds() + requests[-1].ms / 1000
    return TrafficResult(
        sent=len(requests),
        by_status=dict(Counter(request.status for request in requests)),
        exit_codes=dict(Counter(request.exit_code for request in requests if request.exit_code)),
        p50_ms=times.p50 if times else None,
        p90_ms=times.p90 if times else None,
        p99_ms=times.p99 if times else None,
        mean_ms=times.mean if times else None,
        max_ms=times.maximum if times else None,
        seconds=seconds,
        rate=len(requests) / seconds if seconds > 0 else 0.0,
        first=first,
        last=last,
        leftovers_ended=leftovers,
        errors=errors,
    )
