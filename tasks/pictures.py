"""The report's pictures: drawn in a thread while the cluster is taken down, and shown in Prefect where they are small."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from meshlab.core.registry import instance
from meshlab.report.gathered import material_of
from meshlab.report.material import ReportMaterial
from meshlab.report.sections import Drawn, draw
from meshlab.report.svg import standalone
from meshlab.run.journal import RunRef
from tasks.report import publish_image

LARGEST = 24_000  # bytes of a picture that Prefect shows: its page holds the address, which is all of it, as text, too
SHOWN = ("graph-1", "trace-1", "query-1", "query-2", "query-3", "query-4")


class _Drawing:
    """The drawing of one run's pictures, which goes on in a thread."""

    def __init__(self, material: ReportMaterial) -> None:
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="drawing")
        self.drawn: Future[Drawn] = pool.submit(draw, material)
        pool.shutdown(wait=False)


def start_drawing(run: RunRef) -> None:
    """Begin to draw what the run has gathered. Nothing is gathered after it; calling it again is fine."""
    instance(_Drawing, run.run_id, lambda: _Drawing(material_of(run)))


def drawn_of(run: RunRef) -> Drawn:
    """What was drawn, awaited where it is not ready. Raises what drawing raised."""
    start_drawing(run)
    return instance(_Drawing, run.run_id).drawn.result()


def publish_pictures(drawn: Drawn) -> list[str]:
    """Show graph, trace and charts as image artifacts, each under its fixed key; returns the keys."""
    shown = []
    for name, picture in drawn.pictures:
        key, svg = name.removesuffix(".svg"), standalone(picture)
        if key in SHOWN and len(svg.encode()) <= LARGEST:
            publish_image(key, svg, picture.alt)
            shown.append(key)
    return shown
