"""Pictures are drawn aside, once, and the small ones are shown."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from meshlab.report.gathered import gather
from meshlab.report.sections import Drawn
from meshlab.report.svg import Picture
from meshlab.run.journal import create
from tasks import pictures, report
from tests.examples.material import material


def test_what_was_gathered_is_drawn_aside_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = create(tmp_path, "full-lab")
    gather(run, **(vars(material()) | {"dashboards": ()}))  # which take seconds, and become no pictures
    pictures.start_drawing(run)
    pictures.start_drawing(run)
    drawn = pictures.drawn_of(run)
    assert {name.split("-")[0] for name, _ in drawn.pictures} >= {"graph", "trace"}
    nothing = create(tmp_path, "full-lab")
    assert pictures.drawn_of(nothing).pictures == ()


def test_small_pictures_are_shown_under_fixed_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, dict[str, str]] = {}
    monkeypatch.setattr(
        report, "create_image_artifact", lambda **fields: shown.update({fields["key"]: fields})
    )
    small = Picture("<svg xmlns='http://www.w3.org/2000/svg'><text>a graph</text></svg>", "a graph", 10, 10)
    large = Picture(f"<svg><text>{'x' * pictures.LARGEST}</text></svg>", "too much", 10, 10)
    drawn = Drawn(pictures=(("graph-1.svg", small), ("trace-1.svg", large), ("graph-7.svg", small)))
    assert pictures.publish_pictures(drawn) == ["graph-1"]
    assert list(shown) == ["graph-1"]
    kind, _, data = shown["graph-1"]["image_url"].partition(";base64,")
    assert kind == "data:image/svg+xml" and b"a graph" in base64.b64decode(data)
    assert shown["graph-1"]["description"] == "a graph"
