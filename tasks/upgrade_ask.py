"""The question of --ask, whether the other namespaces follow; the error budget is watched while nobody answers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from uuid import UUID

import httpx
from prefect.exceptions import FlowPauseTimeout, PrefectException
from prefect.flow_runs import pause_flow_run, resume_flow_run
from prefect.runtime import deployment, flow_run

from meshlab.cli.upgrade import ANSWER_WITHIN, confirm
from meshlab.core.errors import IstioError
from meshlab.istio.upgrade import UpgradePlan
from meshlab.lifecycle import resume
from meshlab.run.journal import RunRef, record, step
from tasks.common import log_info
from tasks.upgrade_traffic import check_budget

STEP = "ask"
LOOK_EVERY = 1.0  # seconds


def ask_to_go_on(run: RunRef, chosen: UpgradePlan, moved: str) -> None:
    """Stop until somebody says that the other namespaces follow: on the terminal, or by resuming a paused deployment.

    A yes of an earlier life of the run holds. Traffic flows meanwhile, so a broken error budget ends the wait.

    Args:
        run: The run.
        chosen: The plan.
        moved: The namespace that was moved first.

    Raises:
        IstioError: The answer was no, nobody answered within an hour, or the error budget broke.
    """
    resumption = resume.active(run)
    if resumption is not None and STEP in resumption.finished - resumption.doubted:
        return
    others = ", ".join(each.namespace for each in chosen.moves if each.namespace != moved) or "the client's"
    question = f"{moved} runs with revision {chosen.new} ({chosen.version}). Move the others ({others})?"
    with step(run, STEP):
        if deployment.id:
            record(run, {"event": "warning", "text": f"paused for an hour at most: {question}"})
            why = _pause(run)
        else:
            why = confirm(question, sys.stdin, check=lambda: check_budget(run))
        check_budget(run)
        if why:
            raise IstioError(f"the upgrade does not go on: {why}", remedy="start it again")


def _pause(run: RunRef) -> str:
    """Pause the flow run until it is resumed; returns why that is a no, "" for a yes.

    Prefect's pause looks at nothing but the flow run's state. So a thread looks at the error budget, and resumes the
    flow run where it is broken: the caller sees why, and the roll-back runs in a flow run that is Running.
    """
    with _resumed_if_broken(run):
        try:
            pause_flow_run(timeout=int(ANSWER_WITHIN), poll_interval=5, key=STEP)
        except FlowPauseTimeout:
            return f"nobody resumed the flow run within {ANSWER_WITHIN:.0f} s"
    return ""


@contextmanager
def _resumed_if_broken(run: RunRef) -> Iterator[None]:
    ended, paused = threading.Event(), UUID(str(flow_run.id))

    def watch() -> None:
        while not ended.wait(LOOK_EVERY):
            try:
                check_budget(run)
            except IstioError as broken:
                if _resume(paused):
                    record(run, {"event": "warning", "text": f"the pause was ended: {broken.message}"})
                    return

    inherited = copy_context()  # Prefect's: which server, and whose log
    watcher = threading.Thread(target=inherited.run, args=(watch,), name="pause", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _resume(paused: UUID) -> bool:
    """Resume the flow run; returns False where it is not paused yet, or Prefect's server does not answer now."""
    try:
        resume_flow_run(paused)
    except (PrefectException, httpx.HTTPError, RuntimeError) as problem:
        log_info(f"the pause is not ended yet: {problem}")
        return False
    return True
