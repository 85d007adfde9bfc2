from xml.etree import ElementTree as ET

import pytest

from meshlab.report.svg import DARK, LIGHT, compact, picture, standalone

PLOTTED = (
    '<svg xmlns="http://www.w3.org/2000/svg" version="1.1" width="10" height="5"><g role="graphics-object">'
    '<g transform="translate(0,0)"><path class="background" d="M0,0h0v0h0Z"/></g>'
    '<g><line transform="translate(1.23456,2)" x2="3.98765" stroke="var(--line)" stroke-width="1"/></g>'
    '<g display="none"><path d="M1" stroke="red"/></g><text font-family="sans-serif" x="0">1.2345 ms</text>'
    "</g></svg>"
)


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2.1."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_what_draws_nothing_goes_and_decimals_too_but_no_text() -> None:
    assert ET.tostring(compact(PLOTTED), encoding="unicode") == (
        '<svg width="10" height="5"><line transform="translate(1.2,2)" x2="4" stroke="var(--line)" />'
        '<text x="0">1.2345 ms</text></svg>'
    )


def test_a_picture_has_a_role_a_size_and_a_text_alternative() -> None:
    drawn = picture(ET.Element("svg"), 'a "line" & more', 12, 7.5)
    root = ET.fromstring(drawn.svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'a "line" & more'
    assert root.get("viewBox") == "0 0 12 7.5"
    with pytest.raises(ValueError, match="text alternative"):
        picture(ET.Element("svg"), " ", 1, 1)


def test_a_file_of_its_own_is_svg_with_all_colours_it_needs() -> None:
    file = standalone(picture(ET.Element("svg"), "a > b", 12, 7))
    root = ET.fromstring(file)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == "a > b"
    style = root.find("{http://www.w3.org/2000/svg}style")
    assert style is not None
    assert style.text is not None
    assert all(
        f"--{name}:{value}" in style.text for colours in (LIGHT, DARK) for name, value in colours.items()
    )


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_texts_and_lines_stand_out_from_what_is_behind_them(colours: dict[str, str]) -> None:
    assert LIGHT.keys() == DARK.keys()
    for name in ("ink", "ink-2", "axis", "ok", "bad", "warn", "note", *(f"s{n}" for n in range(1, 9))):
        assert contrast(colours[name], colours["panel"]) >= 4.5, name
    for name in ("ink", "ink-2", "ok", "bad", "warn", "note"):
        assert contrast(colours[name], colours["bg"]) >= 4.5, name
    for name in ("ok", "bad", "warn", "note"):
        assert contrast(colours[name], colours[f"{name}-bg"]) >= 4.5, name
        assert contrast(colours["ink"], colours[f"{name}-bg"]) >= 4.5, name
