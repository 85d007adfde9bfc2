"""What a run compiled, in its journal: a run that does so takes many times as long as one that does not."""

from __future__ import annotations

from meshlab.core.progress import Progress, Update
from meshlab.run.journal import RunRef, record, report_progress

COMPILE = "compile"  # the event; what: the work's name, state: started or done
WORKS = ("compile ", "build ")  # how the names of such works begin, in progress reports


def noting_compiles(run: RunRef) -> Progress:
    """Make a listener that hands progress reports on and writes down what is compiled, when that begins and ends.

    What is compiled already says only that it is done, which is no event.

    Args:
        run: The run.

    Returns:
        The `progress` argument of a long call that may compile something.
    """
    under_way: set[str] = set()

    def note(what: str, state: str) -> None:
        record(run, {"event": COMPILE, "what": what, "state": state})

    def heard(update: Update) -> None:
        what, done = update.what, 0 < update.total <= update.done
        if done and what in under_way:
            under_way.remove(what)
            note(what, "done")
        elif not done and what not in under_way and what.startswith(WORKS):
            under_way.add(what)
            note(what, "started")
        report_progress(update)

    return heard
