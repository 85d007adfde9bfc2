"""The one place where an answer of a Google API becomes an error of ours, classed by what the reader can do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from google.api_core import exceptions as google

from meshlab.clusters.gke.credential import NO_CREDENTIALS, auth_errors
from meshlab.core.errors import CloudError

QUOTA = re.compile(
    r"resource \"?(?P<metric>\w+)\"?: request requires '?(?P<needed>[\d.]+)'? and is short '?(?P<short>[\d.]+)'?"
    r"(?:\. project has a quota of '?(?P<limit>[\d.]+)'? with '?(?P<free>[\d.]+)'? available)?",
    re.IGNORECASE,
)
STOCK_OUT = re.compile(r"ZONE_RESOURCE_POOL_EXHAUSTED|GCE_STOCKOUT|not have enough resources available", re.I)
QUOTA_WORDS = re.compile(r"quota|GCE_QUOTA_EXCEEDED", re.I)
PER_TIME = re.compile(r"per (minute|second|100 seconds)|RATE_LIMIT_EXCEEDED", re.I)
PERMISSION = re.compile(r"\b((?:container|compute|resourcemanager|serviceusage)\.\w+\.\w+)\b")
QUOTA_FLAGS = {
    "CPUS": "fewer nodes (--set gke.nodes=N) or a smaller machine (--set gke.machine_type=TYPE)",
    "IN_USE_ADDRESSES": "fewer nodes (--set gke.nodes=N): each has an address",
    "SSD_TOTAL_GB": "smaller disks (--set gke.disk_gb=N) or fewer nodes (--set gke.nodes=N)",
    "DISKS_TOTAL_GB": "smaller disks (--set gke.disk_gb=N) or fewer nodes (--set gke.nodes=N)",
}
UNAVAILABLE = (
    google.ServiceUnavailable,
    google.DeadlineExceeded,
    google.GatewayTimeout,
    google.InternalServerError,
    google.BadGateway,
)


@contextmanager
def cloud_errors(doing: str) -> Iterator[None]:
    """Turn whatever the Google libraries raise inside the block into a CloudError.

    doing: what is being done, as in "create cluster x"; it becomes "can't create cluster x: …".
    """
    try:
        with auth_errors(doing):
            yield
    except google.RetryError as problem:
        cause = problem.cause if isinstance(problem.cause, google.GoogleAPICallError) else None
        if cause is None:
            raise unavailable(doing, str(problem)) from problem
        raise from_call(doing, cause) from problem
    except google.GoogleAPICallError as problem:
        raise from_call(doing, problem) from problem


def is_passing(problem: Exception) -> bool:
    """Whether the same call may succeed soon: the API is away, or says that it is asked too often."""
    if isinstance(problem, google.ResourceExhausted | google.TooManyRequests):
        return bool(PER_TIME.search(f"{problem.message} {_reason(problem)}"))
    return isinstance(problem, UNAVAILABLE)


def from_call(doing: str, problem: google.GoogleAPICallError) -> CloudError:
    """The error behind one refused call."""
    said, reason = problem.message or type(problem).__name__, _reason(problem)
    if isinstance(problem, google.Unauthenticated | google.Unauthorized):
        kind, remedy = "credentials", NO_CREDENTIALS
    elif isinstance(problem, google.Forbidden):
        return _forbidden(doing, said, reason)
    elif isinstance(problem, google.NotFound):
        kind, remedy = "not-found", "check --project, --zone and the name; it may have been removed meanwhile"
    elif isinstance(problem, google.AlreadyExists | google.Conflict) and not isinstance(
        problem, google.Aborted
    ):
        kind, remedy = "exists", "choose another name (--set gke.name=NAME), or remove the one that is there"
    elif is_passing(problem) or isinstance(problem, google.Aborted):
        return unavailable(doing, said)
    elif isinstance(problem, google.ResourceExhausted | google.TooManyRequests):
        return exhausted(doing, said)
    elif isinstance(problem, google.FailedPrecondition):
        kind, remedy = "precondition", "wait until what goes on with the cluster has ended, then run again"
    else:
        kind, remedy = "invalid", "correct the setting that the message names"
    return CloudError(f"can't {doing}: {said}", kind=kind, remedy=remedy)


def exhausted(doing: str, said: str) -> CloudError:
    """A quota that does not suffice, or a zone without machines; told apart by what the API said."""
    if STOCK_OUT.search(said):
        return CloudError(
            f"can't {doing}: the zone has no such machines at the moment ({said})",
            kind="stock-out",
            remedy="use another zone (--zone ZONE), or another machine type (--set gke.machine_type=TYPE)",
        )
    found = list(QUOTA.finditer(said))
    short = "; ".join(shortfall(**match.groupdict()) for match in found)
    flags = dict.fromkeys(
        QUOTA_FLAGS.get(match["metric"].upper(), "another region (--zone ZONE)") for match in found
    )
    ways = " or ".join(flags) or "fewer nodes (--set gke.nodes=N)"
    return CloudError(
        f"can't {doing}: the project's quota does not suffice: {short or said}",
        kind="quota",
        remedy=f"{ways}; or ask Google for more quota",
    )


def shortfall(metric: str, needed: str, short: str, limit: str | None = None, free: str | None = None) -> str:
    """A missing quota in one phrase. Numbers as the API writes them."""
    room = f" of {_number(limit)}, {_number(free)} free" if limit and free else ""
    return f"{metric} short by {_number(short)} (needs {_number(needed)}{room})"


def of_operation(doing: str, said: str, conditions: str = "") -> CloudError:
    """The error behind an operation that ended badly. conditions: codes of the cluster's conditions."""
    text = f"{said} {conditions}".strip()
    if STOCK_OUT.search(text) or QUOTA_WORDS.search(text):
        return exhausted(doing, said if QUOTA.search(said) else text)
    return CloudError(
        f"can't {doing}: {text or 'the operation failed without a reason'}",
        kind="failed",
        remedy="mend what the message names and run again",
    )


def unavailable(doing: str, said: str) -> CloudError:
    """The API was away for longer than we waited."""
    return CloudError(
        f"can't {doing}: the API does not answer ({said})",
        kind="unavailable",
        remedy="run again later, or wait longer (--set gke.retry_seconds=N)",
    )


def _forbidden(doing: str, said: str, reason: str) -> CloudError:
    if reason in ("SERVICE_DISABLED", "BILLING_DISABLED") or "has not been used in project" in said:
        remedy = (
            "enable billing for the project"
            if reason == "BILLING_DISABLED"
            else "enable it: gcloud services enable container.googleapis.com compute.googleapis.com"
        )
        return CloudError(f"can't {doing}: {said}", kind="disabled", remedy=remedy)
    missing = ", ".join(dict.fromkeys(PERMISSION.findall(said)))
    what = f"the permission {missing}" if missing else "the permission that the message names"
    return CloudError(
        f"can't {doing}: {said}",
        kind="permission",
        remedy=f"let an administrator grant {what}; the role with all of them is in docs/gke.md",
    )


def _reason(problem: google.GoogleAPICallError) -> str:
    return str(problem.reason or "")


def _number(text: str | None) -> str:
    return f"{float(text or 0):g}"
