"""The start page of a kept lab: its links, the report of its run, and the live views."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from meshlab.core.errors import MeshlabError
from meshlab.core.redaction import redact
from meshlab.observability.pages.live import EVERY, View
from meshlab.observability.pages.server import Page
from meshlab.report.html import evidence_files
from meshlab.report.rendering import render, source
from meshlab.report.svg import DARK, LIGHT, variables

REPORT = "report.html"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".xml": "application/xml",
}
# The report brings its own policy, in which its script is named by its hash.
REPORT_POLICY = "frame-ancestors 'none'"


@dataclass(frozen=True)
class StartPage:
    """What the start page shows. `answer` is what its server asks.

    title: the lab's name. links: the pages with name, url and note. views: the live ones. directory: of the run whose
    report is shown; None where none is known.
    """

    title: str
    links: Sequence[Mapping[str, str]]
    views: Sequence[View]
    directory: Path | None = None

    def answer(self, path: str) -> Page | None:
        """Return the page of a path; None where there is none."""
        if path == "/":
            return self._start()
        folder, _, name = path.removeprefix("/").partition("/")
        if folder == "live":
            view = next((each for each in self.views if each.name == name), None)
            return Page(redact(str(view.html())).encode()) if view else None
        return self._file(name) if folder == "report" else None

    def _start(self) -> Page:
        script = source("live.js")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = (
            f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        page = render(
            "start-page.html",
            title=self.title,
            links=self.links,
            views=self.views,
            report=self.directory is not None and (self.directory / REPORT).is_file(),
            run=self.directory.name if self.directory else "",
            every=EVERY,
            style=Markup(source("report.css")),
            light=variables(LIGHT),
            dark=variables(DARK),
            script=Markup(script),
        )
        return Page(redact(str(page)).encode(), policy=policy)

    def _file(self, name: str) -> Page | None:
        """A file of the run's directory that the report links to, or the report. No link leads out of the directory."""
        if self.directory is None or name not in (
            REPORT,
            *(each for each, _ in evidence_files(self.directory)),
        ):
            return None
        path = (self.directory / name).resolve()
        if not path.is_relative_to(self.directory.resolve()) or not path.is_file():
            return None
        try:
            data = path.read_bytes()
        except OSError as problem:
            raise MeshlabError(
                f"{name} can't be read: {problem.strerror}", remedy="look at its folder"
            ) from problem
        kind = KINDS.get(path.suffix, "text/plain; charset=utf-8")
        if kind != KINDS[".png"]:
            data = redact(data.decode("utf-8", errors="replace")).encode()
        return Page(data, kind, policy=REPORT_POLICY) if name == REPORT else Page(data, kind)
