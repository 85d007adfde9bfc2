"""Pictures of a kept lab's pages, by the Chromium of this machine; without one there are none, and nothing else is missing."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from meshlab.core.errors import MeshlabError
from meshlab.core.process import Runner

FOLDER = "screenshots"  # in the run's directory
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SIZE = "1440,1600"  # pixels
SETTLE_MS = 10_000  # of the page's own clock: it draws what it has asked for meanwhile
TIMEOUT = 120.0  # seconds for one page; a busy machine starts a browser slowly
FLAGS = (
    "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--no-proxy-server",
)  # fmt: skip


@dataclass(frozen=True)
class Screenshots:
    """What was made. files: the pictures. problems: pages without one, and why."""

    files: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()


def take(pages: Mapping[str, str], directory: Path, *, runner: Runner, path: str) -> Screenshots:
    """Picture each page. A page that can't be pictured is told, never an error.

    Args:
        pages: Name of a page → its address.
        directory: The run's; the pictures go into a folder of it.
        runner: Starts Chromium.
        path: Where programs are looked for.

    Returns:
        The pictures; nothing where there is no Chromium.
    """
    program = next((found for name in PROGRAMS if (found := shutil.which(name, path=path))), None)
    if program is None or not pages:
        return Screenshots()
    folder = directory / FOLDER
    files, problems = [], []
    # As root, which a local cluster needs, Chromium starts without its sandbox only; the pages are the lab's own.
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    for name, url in pages.items():
        file = folder / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.png"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                prefix="meshlab-chromium-", ignore_cleanup_errors=True
            ) as profile:
                words = (f"--user-data-dir={profile}", f"--window-size={SIZE}", f"--screenshot={file}")
                settle = f"--virtual-time-budget={SETTLE_MS}"
                runner.run((program, *FLAGS, *sandbox, *words, settle, url), timeout=TIMEOUT)
        except (MeshlabError, OSError) as problem:
            with suppress(OSError):
                file.unlink(missing_ok=True)
            problems.append(f"{name}: {problem.message if isinstance(problem, MeshlabError) else problem}")
            continue
        if file.is_file():
            files.append(file)
        else:
            problems.append(f"{name}: {Path(program).name} made no picture")
    return Screenshots(tuple(files), tuple(problems))
