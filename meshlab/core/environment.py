"""What this process's environment tells those below it: Prefect, and whoever asks which run a process belongs to.

Settings are read from the environment in `meshlab.config.settings` alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping

OWNER = "MESH_LAB_OWNER"  # names the run's process to every process below it; no setting, so not our prefix


def quieten_prefect(environ: MutableMapping[str, str] | None = None) -> None:
    """Keep Prefect's own lines off the terminal, which the lab draws itself; the logs in its UI stay whole.

    Whatever the user has set stays. The start-up timeout is raised because the default of 20 s is hit on a
    busy machine. The temporary server writes task runs down once a second rather than one by one: see
    docs/decisions/2026-11-23-pauses-between-tasks.md.
    """
    env = os.environ if environ is None else environ
    for name, value in (
        ("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL"),
        ("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL"),
        ("PREFECT_SERVER_ANALYTICS_ENABLED", "false"),
        ("PREFECT_CLIENT_MAX_RETRIES", "3"),  # a server that is gone costs 14 s rather than a minute
        ("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120"),
        ("PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE", "50"),
        ("PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE", "50"),
        ("PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL", "1"),
        ("DO_NOT_TRACK", "1"),
    ):
        env.setdefault(name, value)


def mark_children(pid: int, began: float, environ: MutableMapping[str, str] | None = None) -> None:
    """Mark all that this process starts from now on, and all that those start, with this process's name.

    A process that a library starts for us can so be told from others, from its first moment on and without
    having been written down.

    Args:
        pid: Of this process.
        began: Seconds since the epoch.
        environ: The variables that children get; this process's where not given.
    """
    env = os.environ if environ is None else environ
    env[OWNER] = f"{pid}:{began}"


def owner_in(environ: Mapping[str, str]) -> tuple[int, float] | None:
    """The process that a process's environment names as the run it belongs to: its pid and begin; None without one."""
    pid, _, began = environ.get(OWNER, "").partition(":")
    try:
        return int(pid), float(began)
    except ValueError:
        return None
