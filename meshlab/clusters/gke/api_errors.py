"""The one place where an answer of a Google API becomes an error of ours, classed by what the reader can do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from google.api_core import exceptions as google

from meshlab.clusters.gke.credential import NO_CREDENTIALS, auth_errors
from meshlab.core.errors import CloudError

# What quota failures say. Sources: Compute Engine's and GKE's own messages in public reports (docs/gke.md lists them).
QUOTA = re.compile(
    r"resource \"?(?P<metric>\w+)\"?: request requires '?(?P<needed>[\d.]+)'? and is short '?(?P<short>[\d.]+)'?"
    r"(?:\. project has a quota of '?(?P<limit>[\d.]+)'? with '?(?P<free>[\d.]+)'? available)?",
    re.IGNORECASE,
)
OLDER_QUOTA = re.compile(r"quota '(?P<metric>\w+)' exceeded\.?\s+limit: (?P<limit>[\d.]+)", re.IGNORECASE)
MOST_CLUSTERS = re.compile(r"cannot create more than \d+ clusters", re.IGNORECASE)
STOCK_OUT = re.compile(r"ZONE_RESOURCE_POOL_EXHAUSTED|GCE_STOCKOUT|not have enough resources available", re.I)
QUOTA_WORDS = re.compile(r"quota|GCE_QUOTA_EXCEEDED|cannot create more than \d+ clusters", re.I)
PER_TIME = re.compile(r"per (minute|second|100 seconds)|RATE_LIMIT_EXCEEDED", re.I)
PERMISSION = re.compile(r"\b((?:container|compute|iam|resourcemanager|serviceusage)\.\w+\.\w+)\b")
INTERNAL = re.compile(r"^\W*internal error", re.I)
OWN_FAULT = "Google's own fault, by its words: run again, or use another zone (--zone ZONE)"
ACTIVATION = re.compile(r"apis/(?:api|library)/([\w.-]+\.com)")  # in the address where a service is enabled
SERVICES = "container.googleapis.com compute.googleapis.com"  # where the message names none
NO_QUOTA_LEFT = "fewer nodes (--set gke.nodes=N)"
FEWER_CPUS = "fewer nodes (--set gke.nodes=N) or a smaller machine (--set gke.machine_type=TYPE)"
SMALLER_DISKS = "smaller disks (--set gke.disk_gb=N) or fewer nodes (--set gke.nodes=N)"
# The end of a metric's name → what needs less of it: CPUS, CPUS_ALL_REGIONS, N2_CPUS, SSD_TOTAL_GB, …
QUOTA_REMEDIES = {
    "CPUS": FEWER_CPUS,
    "CPUS_ALL_REGIONS": FEWER_CPUS,
    "ADDRESSES": "fewer nodes (--set gke.nodes=N): each has an address",
    "TOTAL_GB": SMALLER_DISKS,
}
UNAVAILABLE = (
    google.ServiceUnavailable,
    google.DeadlineExceeded,
    google.GatewayTimeout,
    google.InternalServerError,
    google.BadGateway,
    google.Unknown,  # a connection that breaks half way: "Stream removed"
)


@dataclass(frozen=True)
class Refusal:
    """A row of the table of refusals that are told apart by their text or reason. said: a pattern of both."""

    said: re.Pattern[str]
    kind: str
    remedy: str


# The first row that fits counts. Sources: docs/gke.md.
REFUSALS = (
    Refusal(
        re.compile(r"BILLING_DISABLED|billing (?:to be enabled|account|is disabled)", re.I),
        "disabled",
        "enable billing for the project",
    ),
    Refusal(
        re.compile(r"SERVICE_DISABLED|has not been used in project", re.I),
        "disabled",
        "enable it: gcloud services enable {services}",
    ),
    Refusal(
        re.compile(r"constraints/[\w.-]+|CUSTOM_ORG_POLICY_VIOLATION|organization polic", re.I),
        "policy",
        "an organization policy forbids it: choose what it allows, or ask its administrator for an exception",
    ),
    Refusal(
        re.compile(r"serviceAccounts\.actAs|serviceAccountUser|access to service account", re.I),
        "permission",
        "let an administrator grant roles/iam.serviceAccountUser on the nodes' service account",
    ),
    Refusal(
        re.compile(r"CONSUMER_INVALID|USER_PROJECT_DENIED|project '?[\w-]+'? (?:not found|has been deleted)"
                   r"|resource project|Unknown project", re.I),
        "project",
        "check --project: it must be the id of a project that you may use",
    ),
)  # fmt: skip


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
    elif isinstance(problem, google.Forbidden) and QUOTA_WORDS.search(said):
        return exhausted(doing, said)
    elif (row := refusal(said, reason)) is not None:
        return CloudError(f"can't {doing}: {said}", kind=row.kind, remedy=row.remedy)
    elif isinstance(problem, google.Forbidden):
        return _forbidden(doing, said)
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
    metrics = [match["metric"] for match in (*found, *OLDER_QUOTA.finditer(said))]
    ways = " or ".join(dict.fromkeys(map(quota_remedy, metrics)))
    if MOST_CLUSTERS.search(said):
        ways = "another region (--zone ZONE), or remove a cluster that nobody needs"
    ways = ways or NO_QUOTA_LEFT
    return CloudError(
        f"can't {doing}: the project's quota does not suffice: {short or said}",
        kind="quota",
        remedy=f"{ways}; or ask Google for more quota",
    )


def quota_remedy(metric: str) -> str:
    """Return what needs less of a quota, by the family that the metric belongs to."""
    known = (text for end, text in QUOTA_REMEDIES.items() if metric.upper().endswith(end))
    return next(known, "another region (--zone ZONE)")


def refusal(said: str, reason: str = "") -> Refusal | None:
    """Find the row of the table for a refusal.

    Args:
        said: What the API said.
        reason: Its ErrorInfo's reason, where it gave one.

    Returns:
        The row, with the services named in its remedy; None where no row fits.
    """
    row = next((each for each in REFUSALS if each.said.search(f"{reason} {said}")), None)
    if row is None:
        return None
    services = " ".join(dict.fromkeys(ACTIVATION.findall(said))) or SERVICES
    return replace(row, remedy=row.remedy.format(services=services))


def shortfall(metric: str, needed: str, short: str, limit: str | None = None, free: str | None = None) -> str:
    """A missing quota in one phrase. Numbers as the API writes them."""
    room = f" of {_number(limit)}, {_number(free)} free" if limit and free else ""
    return f"{metric} short by {_number(short)} (needs {_number(needed)}{room})"


def of_operation(doing: str, said: str, conditions: str = "") -> CloudError:
    """The error behind an operation that ended badly. conditions: codes of the cluster's conditions."""
    known = " ".join(each for each in conditions.split() if each != "UNKNOWN")  # that one says nothing
    text = f"{said} {known}".strip()
    if (row := refusal(text)) is not None:
        return CloudError(f"can't {doing}: {text}", kind=row.kind, remedy=row.remedy)
    if STOCK_OUT.search(text) or QUOTA_WORDS.search(text):
        return exhausted(doing, said if QUOTA.search(said) else text)
    return CloudError(
        f"can't {doing}: {text or 'the operation failed without a reason'}",
        kind="failed",
        remedy=OWN_FAULT if INTERNAL.search(text) else "mend what the message names and run again",
    )


def unavailable(doing: str, said: str) -> CloudError:
    """The API was away for longer than we waited."""
    return CloudError(
        f"can't {doing}: the API does not answer ({said})",
        kind="unavailable",
        remedy="run again later, or wait longer (--set gke.retry_seconds=N)",
    )


def _forbidden(doing: str, said: str) -> CloudError:
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
