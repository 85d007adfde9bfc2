"""A fixed number of requests in one exec, each looked at: for the n-of-n checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from meshlab.app.latency import Latency, latency
from meshlab.core.errors import ExecError
from meshlab.kube.client import Kube
from meshlab.kube.exec import run_in_pod

ROUND = r"""
number=$1 wanted=$2 url=$3 limit=$4
shift 4
newline='
'
i=0
while [ "$i" -lt "$number" ]; do
  i=$((i + 1))
  body=$(curl -sS --max-time "$limit" -w '\n%{http_code} %{time_total}' "$@" "$url")
  code=$?
  case "$body" in *"$wanted"*) hit=1 ;; *) hit=0 ;; esac
  echo "R $i ${body##*"$newline"} $code $hit"
  [ "$hit" -eq 1 ] || printf '%.400s\n' "$body" >&2
done
"""


@dataclass(frozen=True)
class RoundResult:
    """n requests, one after the other.

    by_status: HTTP status → requests ("000": no answer). matched: bodies that hold the expected text.
    passed: requests with status 200 whose body matched. exit_codes: curl's, other than 0. times: None when
    n is 0. odd: the beginning of the bodies that did not match, and curl's messages. ms: each request's time in
    milliseconds, in their order.
    """

    sent: int
    by_status: Mapping[str, int]
    matched: int
    passed: int
    exit_codes: Mapping[int, int]
    times: Latency | None
    odd: str
    ms: tuple[float, ...] = ()


def n_requests(
    kube: Kube,
    namespace: str,
    pod: str,
    url: str,
    n: int,
    *,
    container: str = "sleep",
    expect: str = "",
    headers: Mapping[str, str] | None = None,
    options: tuple[str, ...] = (),
    request_timeout: float = 15.0,
) -> RoundResult:
    """Send n requests from inside a pod, one after the other, each exactly once.

    curl does not repeat.

    Args:
        kube: Client of the cluster.
        namespace: Of the application.
        pod: Its name.
        url: What is asked for.
        n: How many.
        container: Its name.
        expect: Text that each body must hold (a page's title).
        headers: Added to each request.
        options: Further arguments of curl.
        request_timeout: Seconds for each.

    Returns:
        What came back, request by request.

    Raises:
        ExecError: The round itself can't be made, or its lines don't add up.
    """
    extra = [word for key, value in (headers or {}).items() for word in ("-H", f"{key}: {value}")]
    done = run_in_pod(
        kube,
        namespace,
        pod,
        container,
        ["sh", "-c", ROUND, "meshlab-round", str(n), expect, url, f"{request_timeout:g}", *extra, *options],
        timeout=n * request_timeout + 30,
        check=True,
    )
    rows = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("R ")]
    if len(rows) != n or any(len(row) != 5 for row in rows):
        raise ExecError(
            f"{len(rows)} of {n} requests reported back: {done.stdout[-300:]} {done.stderr[-300:]}",
            remedy="check that the container has sh and curl",
        )
    ms = tuple(float(seconds) * 1000 for _, _, seconds, _, _ in rows)
    return RoundResult(
        sent=n,
        by_status=dict(Counter(status for _, status, *_ in rows)),
        matched=sum(hit == "1" for *_, hit in rows),
        passed=sum(status == "200" and hit == "1" for _, status, _, _, hit in rows),
        exit_codes=dict(Counter(int(code) for _, _, _, code, _ in rows if code != "0")),
        times=latency(ms),
        odd=done.stderr[:2000],
        ms=ms,
    )
