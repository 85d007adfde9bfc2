"""SVG for the report: small, in the page's colours, with a text alternative; and the same as files.

Colours are CSS variables (`--ink`, `--line`, `--s1` … `--s8`), which the page defines for light and
dark and which a file of its own brings along.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

NAMESPACE = "http://www.w3.org/2000/svg"
COLOURS = 8  # --s1 to --s8
_NUMBER = re.compile(r"-?\d*\.\d+(?:e-?\d+)?")
_WITH_NUMBERS = frozenset(
    {"d", "transform", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height"}
)
_DROPPED = frozenset({
    "role", "class", "pointer-events", "font-family", "stroke-miterlimit", "version", "aria-hidden",
    "aria-roledescription", "aria-label",
})  # fmt: skip

# Each colour has a contrast of 4.5 or more to its background, text colours to the panels' background too.
LIGHT = {
    "bg": "#f6f7f9", "panel": "#ffffff", "ink": "#1b1f24", "ink-2": "#4b5563",
    "line": "#d5dae1", "axis": "#6b7280",
    "ok": "#16703a", "bad": "#b3261e", "warn": "#8f4e00", "note": "#1f56b3",
    "ok-bg": "#e3f4e9", "bad-bg": "#fdeae8", "warn-bg": "#fff1dc", "note-bg": "#e8f0fd",
    "s1": "#1f66c7", "s2": "#b4500b", "s3": "#1c7a41", "s4": "#7a3cc0", "s5": "#0b7480", "s6": "#b12a78",
    "s7": "#7c5e00", "s8": "#56616f",
}  # fmt: skip
DARK = {
    "bg": "#101318", "panel": "#181c23", "ink": "#e8eaee", "ink-2": "#b1b9c5",
    "line": "#333a45", "axis": "#8b95a3",
    "ok": "#62ce8c", "bad": "#ff8f86", "warn": "#f2b154", "note": "#8ab6ff",
    "ok-bg": "#15301f", "bad-bg": "#3b1a18", "warn-bg": "#33250f", "note-bg": "#172842",
    "s1": "#6ea8fe", "s2": "#f2985a", "s3": "#5cc98a", "s4": "#bf97f5", "s5": "#4cc2ce", "s6": "#ef8abf",
    "s7": "#d6b24a", "s8": "#a5b0be",
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A drawing: inline SVG whose root has role=img and the alternative `alt`. width, height: pixels."""

    svg: str
    alt: str
    width: float
    height: float

    @property
    def size(self) -> int:
        """Bytes of the SVG."""
        return len(self.svg.encode())


def variables(colours: dict[str, str]) -> str:
    """Colours as CSS declarations."""
    return ";".join(f"--{name}:{value}" for name, value in colours.items())


def add(
    parent: ET.Element,
    tag: str,
    text: str | None = None,
    *styles: Mapping[str, str],
    **attributes: str | float,
) -> ET.Element:
    """Add an element to a drawing.

    Args:
        parent: The element that it goes into.
        tag: Its name.
        text: Its text.
        *styles: Attributes that several elements share.
        **attributes: Its own; `_` stands for `-`, and numbers are rounded to a tenth.

    Returns:
        The element.
    """
    made = ET.SubElement(parent, tag)
    made.text = text
    for name, value in {key: each for style in (*styles, attributes) for key, each in style.items()}.items():
        made.set(name.replace("_", "-"), value if isinstance(value, str) else f"{round(value, 1):g}")
    return made


def picture(root: ET.Element, alt: str, width: float, height: float) -> Picture:
    """Make a drawing from a root element, whose own attributes are set here.

    Args:
        root: The element.
        alt: What is to be seen, for those who can't see it.
        width: CSS pixels.
        height: CSS pixels.

    Returns:
        The drawing.

    Raises:
        ValueError: There is no alternative text.
    """
    if not alt.strip():
        raise ValueError("a picture needs a text alternative")
    view = f"0 0 {width:g} {height:g}"
    root.attrib = {
        "viewBox": root.get("viewBox", view),
        "width": f"{width:g}",
        "height": f"{height:g}",
        **root.attrib,
    }
    root.attrib |= {"role": "img", "aria-label": alt}
    root.tag = "svg"
    return Picture(ET.tostring(root, encoding="unicode", short_empty_elements=True), alt, width, height)


def standalone(drawn: Picture) -> str:
    """The drawing as a file of its own: with its colours for light and dark, its font and a background."""
    root = ET.fromstring(drawn.svg)
    root.set("xmlns", NAMESPACE)
    style = ET.Element("style")
    style.text = (
        f"svg{{{variables(LIGHT)};background:var(--panel);font-family:system-ui,sans-serif;color:var(--ink)}}"
        f"@media(prefers-color-scheme:dark){{svg{{{variables(DARK)}}}}}"
    )
    root.insert(0, style)
    return ET.tostring(root, encoding="unicode") + "\n"


def compact(svg: str) -> ET.Element:
    """A plotting library's SVG without what the page does not need: namespaces, roles, fonts, decimals.

    Elements that draw nothing are left out and coordinates rounded to a tenth of a pixel.
    """
    root = ET.fromstring(svg)
    _clean(root)
    return root


def _clean(element: ET.Element) -> None:
    element.tag = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    element.attrib = {
        name: _rounded(value) if name in _WITH_NUMBERS else value
        for name, value in element.attrib.items()
        if name not in _DROPPED and (name, value) not in (("opacity", "1"), ("stroke-width", "1"))
    }
    if element.get("transform") == "translate(0,0)":
        del element.attrib["transform"]
    for child in list(element):
        _clean(child)
        if _draws_nothing(child):
            element.remove(child)
        elif child.tag == "g" and not child.attrib:
            place = list(element).index(child)
            element.remove(child)
            for offset, grandchild in enumerate(child):
                element.insert(place + offset, grandchild)


def _draws_nothing(element: ET.Element) -> bool:
    if element.get("display") == "none" or (element.tag == "g" and not len(element)):
        return True
    return element.tag == "path" and (
        element.get("d", "") in ("", "M0,0h0v0h0Z") or not (element.get("stroke") or element.get("fill"))
    )


def _rounded(text: str) -> str:
    return _NUMBER.sub(lambda number: f"{round(float(number[0]), 1):g}", text)
