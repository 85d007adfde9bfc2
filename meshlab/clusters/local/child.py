"""`up` as a process of its own: started before Prefect's slow import, followed by the step that needs it.

The child appends one JSON object per line to its report: progress, then either the cluster or the error.
The process that follows may have started it or found it; a child that dies without a last line is an error, too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from meshlab.clusters.base import ClusterRef
from meshlab.clusters.local.files import tail
from meshlab.config.settings import LocalSettings, Machine
from meshlab.core.errors import ClusterError, Interrupted, MeshlabError
from meshlab.core.process import Runner, SystemRunner, end_process, lives
from meshlab.core.progress import Progress, Update
from meshlab.core.waiting import SystemClock, wait

FOLLOW_TIMEOUT = 3600.0  # seconds; a cold build on two cores takes a quarter of that


@dataclass(frozen=True)
class UpChild:
    """A running `up`: its pid, when it began (seconds since the epoch), its report and its log."""

    pid: int
    began: float
    report: Path
    log: Path


def start(
    settings: LocalSettings,
    run_id: str,
    folder: Path,
    *,
    addons: Sequence[str] = (),
    runner: Runner | None = None,
) -> UpChild:
    """Start `up` in the background.

    Args:
        settings: Of the cluster.
        run_id: The run that uses the cluster.
        folder: Gets the report and the log.
        addons: Names of addons whose images the nodes must hold.
        runner: Starts the process.

    Returns:
        The child, to be followed and ended.
    """
    report, log = folder / "cluster-up.jsonl", folder / "cluster-up.log"
    report.unlink(missing_ok=True)
    wanted = json.dumps(
        {
            "settings": settings.model_dump(mode="json"),
            "run_id": run_id,
            "run_pid": os.getpid(),
            "report": str(report),
            "addons": list(addons),
        }
    )
    child = (runner or SystemRunner()).spawn(
        [sys.executable, "-m", "meshlab.clusters.local.child", wanted], log_file=log
    )
    return UpChild(child.pid, psutil.Process(child.pid).create_time(), report, log)


def follow(child: UpChild, *, progress: Progress, stop: threading.Event | None = None) -> ClusterRef:
    """Wait for the child, and pass its progress on.

    Args:
        child: What `start` returned, or found again by another process.
        progress: Gets what the child reports.
        stop: Ends the wait when it is set, not the child.

    Returns:
        The cluster, which runs.

    Raises:
        ClusterError: The child failed, with what it said, or it died without a word.
    """
    seen = 0

    def read() -> dict[str, Any] | None:
        nonlocal seen
        dead = not alive(child)  # before reading, so that a last line is never missed
        text = child.report.read_text(encoding="utf-8") if child.report.exists() else ""
        for line in text.splitlines(keepends=True)[seen:]:
            if not line.endswith("\n"):
                break
            seen += 1
            event: dict[str, Any] = json.loads(line)
            if event.pop("pid", child.pid) != child.pid:
                continue  # the last word of one whose run was killed, and goes on with another
            if "what" not in event:
                return event
            progress(Update(**event))
        if stop is not None and stop.is_set():
            return {"error": "stopped before it was up", "remedy": ""}
        if dead:
            return {
                "error": f"its process ended without a result. The end of its log:\n{tail(child.log) or '(none)'}",
                "remedy": "",
            }
        return None

    last = wait(
        "the cluster to come up",
        read,
        ready=lambda event: event is not None,
        timeout=FOLLOW_TIMEOUT,
        delay=0.1,
        clock=SystemClock(stop),
        describe=lambda event: "coming up",
    )
    assert last is not None
    if "error" in last:
        raise ClusterError(
            f"bringing the cluster up failed: {last['error']}", remedy=last["remedy"] or f"see {child.log}"
        )
    told = last["cluster"]
    return ClusterRef(
        **{**told, "kubeconfig": Path(told["kubeconfig"]), "images": tuple(told.get("images", ()))}
    )


def alive(child: UpChild) -> bool:
    """Tell whether the child still runs (and its pid is not another's)."""
    return lives(child.pid, child.began)


def end(child: UpChild, grace: float = 30.0) -> None:
    """Stop the child: SIGTERM, so that it can leave in order, then SIGKILL.

    Args:
        child: What `start` returned.
        grace: Seconds between the two signals.
    """
    end_process(child.pid, child.began, grace)


def main(wanted: dict[str, Any]) -> int:
    """Run the child; returns its exit code."""
    from meshlab.clusters.local.cluster import LocalCluster

    report = Path(wanted["report"])

    def say(event: dict[str, Any]) -> None:
        with report.open("a", encoding="utf-8") as sink:
            sink.write(json.dumps({"pid": os.getpid(), **event}, default=str) + "\n")

    def on_signal(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signum)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    cluster = LocalCluster(
        LocalSettings.model_validate(wanted["settings"]),
        Machine.here(),
        run_id=wanted["run_id"],
        addons=tuple(wanted["addons"]),
    )
    threading.Thread(target=_end_with, args=(wanted["run_pid"],), daemon=True).start()
    try:
        cluster.claim(pid=wanted["run_pid"])  # the run holds the cluster, long after this process has ended
        ref = cluster.up(progress=lambda update: say(asdict(update)))
    except Interrupted as problem:
        say({"error": str(problem), "remedy": ""})
        return 128 + problem.signum
    except MeshlabError as problem:
        say({"error": problem.message, "remedy": problem.remedy})
        return 3
    say({"cluster": asdict(ref)})
    return 0


def _end_with(run_pid: int) -> None:
    """Stop when the run is killed: then nothing follows this process, or removes what it goes on making."""
    while os.getppid() == run_pid:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
