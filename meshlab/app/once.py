"""A fixed number of requests in one exec, each looked at: for the n-of-n checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshlab.app.curl import TOLD, Answer, command, parse_answer
from meshlab.app.latency import Latency, latency
from meshlab.app.source import Source
from meshlab.core.errors import ExecError
from meshlab.kube.client import Kube
from meshlab.kube.exec import run_in_pod

# For each URL, one curl (so one connection) a request. The R line ends with whether the body has the wanted text.
ROUND = r"""
number=$1 wanted=$2
shift 2
newline='
'
for url; do
  i=0
  while [ "$i" -lt "$number" ]; do
    i=$((i + 1))
    body=$(@CURL@ "$url")
    code=$?
    case "$body" in *"$wanted"*) hit=1 ;; *) hit=0 ;; esac
    echo "R $i ${body##*"$newline"} $code $hit"
    [ "$hit" -eq 1 ] || printf '%.400s\n' "$body" >&2
  done
done
"""
# curl's exit codes when the other side takes the connection and then drops it
DROPPED = {52: "closed without an answer", 56: "reset"}


@dataclass(frozen=True)
class RoundResult:
    """n requests, one after the other.

    by_status: HTTP status → requests ("000": no answer). matched: bodies that hold the expected text.
    passed: requests with status 200 whose body matched. exit_codes: curl's, other than 0. times: None when
    n is 0. odd: the beginning of the bodies that did not match (of all URLs), and curl's messages. ms: each
    request's time in milliseconds, in their order. url: that was asked.
    """

    sent: int
    by_status: Mapping[str, int]
    matched: int
    passed: int
    exit_codes: Mapping[int, int]
    times: Latency | None
    odd: str
    ms: tuple[float, ...] = ()
    url: str = ""

    @property
    def served(self) -> int:
        """Requests that got a 200."""
        return self.by_status.get("200", 0)

    @property
    def refused(self) -> int:
        """Requests whose connection was taken, and then dropped without an answer."""
        return min(sum(self.exit_codes.get(code, 0) for code in DROPPED), self.by_status.get("000", 0))

    def __str__(self) -> str:
        codes = [f"{count} × {status}" for status, count in self.by_status.items() if status != "000"]
        ends = [
            f"{count} × {DROPPED.get(code, f'curl exit {code}')}" for code, count in self.exit_codes.items()
        ]
        return ", ".join([*codes, *ends])


def n_requests(
    kube: Kube,
    source: Source,
    url: str,
    n: int,
    *,
    expect: str = "",
    options: Sequence[str] = (),
    request_timeout: float = 15.0,
) -> RoundResult:
    """Send requests to one URL in one exec, one after the other, each exactly once.

    Args:
        kube: Client of the cluster.
        source: The container that sends; it has sh and curl.
        url: As the pod asks for it.
        n: How many requests.
        expect: Text that each body must hold (a page's title).
        options: Further arguments of curl.
        request_timeout: Seconds for each request.

    Returns:
        What came of them.

    Raises:
        ExecError: The round itself can't be made, or its lines don't add up.
        KubeError: The API refuses to start the command.
    """
    [result] = ask_each(
        kube, source, [url], n, expect=expect, options=options, request_timeout=request_timeout
    )
    return result


def ask_each(
    kube: Kube,
    source: Source,
    urls: Sequence[str],
    n: int,
    *,
    expect: str = "",
    options: Sequence[str] = (),
    request_timeout: float = 5.0,
) -> tuple[RoundResult, ...]:
    """Send requests to URLs in one exec, one after the other, each exactly once (curl does not repeat).

    Args:
        kube: Client of the cluster.
        source: The container that sends; it has sh and curl.
        urls: As the pod asks for them.
        n: Requests to each.
        expect: Text that each body must hold (a page's title).
        options: Further arguments of curl.
        request_timeout: Seconds for each request.

    Returns:
        What came of them, in the order of the URLs.

    Raises:
        ExecError: The round itself can't be made, or its lines don't add up.
        KubeError: The API refuses to start the command.
    """
    wanted = n * len(urls)
    script = ROUND.replace("@CURL@", command(timeout=request_timeout, told=rf"\n{TOLD}", options=options))
    done = run_in_pod(
        kube,
        source.namespace,
        source.pod,
        source.container,
        ["sh", "-c", script, "meshlab-round", str(n), expect, *urls],
        timeout=wanted * request_timeout + 30,
        check=True,
    )
    lines = [line.rpartition(" ") for line in done.stdout.splitlines() if line.startswith("R ")]
    rows = [(answer, hit == "1") for told, _, hit in lines if (answer := parse_answer(told)) is not None]
    if not len(rows) == len(lines) == wanted:
        raise ExecError(
            f"{len(rows)} of {wanted} requests reported back: {done.stdout[-300:]} {done.stderr[-300:]}",
            remedy="check that the container has sh and curl",
        )
    return tuple(
        _result(url, rows[index * n : (index + 1) * n], done.stderr[:2000]) for index, url in enumerate(urls)
    )


def _result(url: str, rows: Sequence[tuple[Answer, bool]], odd: str) -> RoundResult:
    ms = tuple(answer.seconds * 1000 for answer, _ in rows)
    return RoundResult(
        sent=len(rows),
        by_status=dict(Counter(answer.status for answer, _ in rows)),
        matched=sum(hit for _, hit in rows),
        passed=sum(answer.status == "200" and hit for answer, hit in rows),
        exit_codes=dict(Counter(answer.exit_code for answer, _ in rows if answer.exit_code)),
        times=latency(ms),
        odd=odd,
        ms=ms,
        url=url,
    )
