"""Publishing: artifacts with fixed keys, so that each builds a history.

What Prefect's server does not take is kept and published later (see `tasks.outbox`); it is never the run's failure.
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext, TaskRunContext

from meshlab.core.progress import Update
from meshlab.core.redaction import redact, redact_value
from meshlab.core.registry import instance
from meshlab.report.markdown import summary_markdown
from meshlab.report.tables import Row, check_rows, query_rows, version_rows
from meshlab.run.journal import listening
from tasks.outbox import Outbox, Unpublished

log = logging.getLogger(__name__)
PROGRESS_EVERY = 2.0  # seconds between updates of a progress artifact: each is a call to the server


def publish_table(key: str, rows: list[Row], description: str) -> None:
    """A table under a fixed key. An empty one is published too: that there is nothing is news."""
    _try(
        key,
        lambda: create_table_artifact(
            key=key, table=redact_value(rows) or [{"": "(nothing)"}], description=description
        ),
    )


def publish_image(key: str, svg: str, description: str) -> None:
    """A picture under a fixed key. Its address is the picture itself, so it should be small."""
    url = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    _try(key, lambda: create_image_artifact(key=key, image_url=url, description=description))


def publish_result(result: Mapping[str, Any], authorization: Sequence[Row] = ()) -> None:
    """Publish everything that the end of a run shows: versions, queries, checks, and the summary.

    Args:
        result: The content of `result.json`.
        authorization: Who may do what, as `authz.matrix_rows` gives it.
    """
    publish_table("versions", version_rows(result["versions"]), "Versions that ran")
    publish_table(
        "queries", query_rows(result["checks"]), "The document's queries and what Prometheus answered"
    )
    publish_table(
        "checks", check_rows(result["checks"]), f"Checks of run {result['run_id']}: {result['verdict']}"
    )
    _try(
        "report",
        lambda: create_markdown_artifact(
            key="report", markdown=redact(summary_markdown(result, authorization)), description="Summary"
        ),
    )


@contextmanager
def progress_artifact(key: str, description: str) -> Iterator[None]:
    """Show the progress reports of this block as one artifact (percent of the work that knows its size)."""
    if FlowRunContext.get() is None and TaskRunContext.get() is None:
        yield
        return
    artifact: UUID | None = None
    last = 0.0

    def begin() -> None:
        nonlocal artifact
        # Synchronous outside of an event loop, which is where tasks in threads run.
        artifact = cast(UUID, create_progress_artifact(progress=0.0, key=key, description=description))

    def show(progress: float, text: str) -> None:
        if artifact is not None:
            shown = artifact
            _try(
                key,
                lambda: update_progress_artifact(artifact_id=shown, progress=progress, description=text),
                keep=False,
            )

    def on_update(update: Update) -> None:
        nonlocal last
        if update.percent is None or time.monotonic() - last < PROGRESS_EVERY:
            return
        last = time.monotonic()
        show(update.percent, f"{description}: {update.what}, {update.detail}")

    _try(key, begin, keep=False)
    with listening(updates=on_update):
        yield
    show(100.0, f"{description}: done")


def _try(key: str, publish: Callable[[], Any], *, keep: bool = True) -> None:
    instance(Outbox).publish(key, publish, keep=keep)


def flush_artifacts() -> tuple[Unpublished, ...]:
    """Publish what Prefect's server has not taken yet; returns what it never took."""
    return instance(Outbox).flush()
