"""Everything that meshlab raises on purpose.

    MeshlabError                 message, remedy, retryable
    ├── InputError               bad input: a list of problems, exit code 2, nothing was touched
    ├── ProcessError             a command failed, was not found or ran past its deadline
    ├── BuildError               compiling or assembling the embedded distribution failed
    ├── ClusterError             a cluster could not be made, reached or removed
    │   ├── ClusterBusyError     another run holds it
    │   └── CloudError           a cloud's API refused; kind says how (quota, stock-out, permission, …)
    ├── KubeError                the Kubernetes API refused or did not answer
    │   ├── RolloutError         pods do not start, with the cause found in the cluster
    │   └── ExecError            a command inside a pod failed or its connection broke
    ├── IstioError               istioctl or the control plane refused
    │   ├── SecretsWithheldError it would have had to read Secrets, which this account may not
    │   └── UnknownFlagError     this build of istioctl does not know what it was asked for
    ├── QueryError               Prometheus (or another addon) could not be asked
    │   └── ShutOutError         it wants credentials, or others than it was given
    ├── HistoryError             the store of earlier runs can't be read or written, or has no such run
    ├── NotHereError             a mesh of somebody else does not have what is asked
    ├── AlertError               a message to people did not get through
    └── WaitTimeout              a deadline passed: names what was awaited and the last state seen

Beside it stands Interrupted (a KeyboardInterrupt, so that nothing takes it for a failure that a retry could
heal): SIGINT or SIGTERM reached us, exit code 130 or 143.

Every error carries a remedy for the reader and says whether trying again may help.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshlab.core.redaction import redact
from meshlab.core.text import pluralize


class MeshlabError(Exception):
    """Base of the hierarchy.

    message: what happened, one sentence. remedy: what the reader can do about it, `usual_remedy` of the class
    where none is given; may be empty only where nothing can. retryable: whether the same call may succeed when
    it is made again.
    """

    retryable = False
    usual_remedy = ""

    def __init__(self, message: str, *, remedy: str = "", retryable: bool | None = None) -> None:
        self.message = redact(message)
        self.remedy = redact(remedy) or self.usual_remedy
        super().__init__(self.message)
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.message}\n  remedy: {self.remedy}" if self.remedy else self.message


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the input: where (flag, setting or file), what, and the remedy."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n    remedy: {self.remedy}"


class InputError(MeshlabError):
    """The input can't be run. Raised with every problem that was found, before anything is touched."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        head = pluralize(len(self.problems), "problems")
        super().__init__("\n".join([f"{head}, nothing was started:", *(f"  - {p}" for p in self.problems)]))


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to stop. signum: 2 (SIGINT) or 15 (SIGTERM)."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by signal {signum}")
        self.signum = signum


class ProcessError(MeshlabError):
    """A command failed.

    argv as run, returncode (None: not started or timed out), output: the end of what it said.
    """

    def __init__(
        self,
        message: str,
        *,
        argv: tuple[str, ...] = (),
        returncode: int | None = None,
        output: str = "",
        remedy: str = "",
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, retryable=retryable)
        self.argv = tuple(redact(str(word)) for word in argv)
        self.returncode = returncode
        self.output = redact(output)


class BuildError(MeshlabError):
    """Compiling the cluster's binaries or assembling its images failed."""


class ClusterError(MeshlabError):
    """A cluster could not be made, reached or removed."""


class ClusterBusyError(ClusterError):
    """Another run holds this cluster."""


class CloudError(ClusterError):
    """A cloud's API refused, or what it did failed.

    kind: quota, stock-out, permission, credentials, disabled, not-found, exists, precondition, invalid,
    unavailable, failed (an operation ended badly) or leftovers.
    """

    def __init__(self, message: str, *, kind: str, remedy: str = "", retryable: bool | None = None) -> None:
        super().__init__(
            message, remedy=remedy, retryable=kind == "unavailable" if retryable is None else retryable
        )
        self.kind = kind


class KubeError(MeshlabError):
    """The Kubernetes API refused a call or did not answer. status: HTTP status, None without an answer."""

    def __init__(
        self, message: str, *, status: int | None = None, remedy: str = "", retryable: bool | None = None
    ) -> None:
        super().__init__(message, remedy=remedy, retryable=retryable)
        self.status = status


class RolloutError(KubeError):
    """Pods do not start; the message names the cause (events, pending reason, image, probe)."""


class ExecError(KubeError):
    """A command inside a pod failed (returncode) or its connection broke (returncode None)."""

    def __init__(
        self, message: str, *, returncode: int | None = None, output: str = "", remedy: str = ""
    ) -> None:
        super().__init__(message, remedy=remedy, retryable=returncode is None)
        self.returncode = returncode
        self.output = redact(output)


class IstioError(MeshlabError):
    """istioctl or the control plane refused what was asked."""


class SecretsWithheldError(IstioError):
    """An istioctl command needs to read Secrets, which this account may not: nothing is wrong, and nothing was examined."""

    usual_remedy = (
        "let somebody who may read Secrets run it; the lab's account needs Secrets for nothing else"
    )


class UnknownFlagError(IstioError):
    """This build of istioctl does not know what it was asked for, and did nothing."""

    usual_remedy = "use a newer istioctl"


class QueryError(MeshlabError):
    """An addon (Prometheus, Jaeger, …) could not be asked, or its answer was no answer."""

    retryable = True


class ShutOutError(QueryError):
    """An addon wants credentials, or others than it was given."""

    retryable = False


class NotHereError(MeshlabError):
    """A mesh of somebody else does not have what is asked: nothing is wrong, and a check that needs it is skipped.

    told_by: the check that tells the remedy, where many are skipped for one reason; "" where each does.
    """

    def __init__(self, message: str, *, remedy: str, told_by: str = "") -> None:
        super().__init__(message, remedy=remedy, retryable=False)
        self.told_by = told_by


class HistoryError(MeshlabError):
    """The store of earlier runs can't be read or written, or what is asked for is not in it."""


class AlertError(MeshlabError):
    """A message to people did not get through. Never carries the address, which is a secret."""

    retryable = True


class WaitTimeout(MeshlabError):
    """A deadline passed.

    what: the thing awaited; last: the last state that was seen; seconds: how long it was awaited.
    """

    usual_remedy = "fix what was seen last; if it was only slow (a busy machine), run again"

    def __init__(self, what: str, *, last: str, seconds: float, remedy: str = "") -> None:
        super().__init__(f"waited {seconds:.0f} s for {what}; last seen: {last}", remedy=remedy)
        self.what = what
        self.last = redact(last)
        self.seconds = seconds
