"""Paths as a proxy sees them when it judges: normalised as the mesh's configuration says.

Istio's page "Authorization Policy Normalization"; Envoy's normalize_path, merge_slashes.
"""

from __future__ import annotations

import re

ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
UNRESERVED = re.compile(r"[A-Za-z0-9\-._~]")  # RFC 3986, 2.3: their encoded form means the same


def normalised(path: str, how: str) -> str | None:
    """The path that policies judge, without its query. None where this is not known.

    how: DEFAULT, NONE, BASE, MERGE_SLASHES or DECODE_AND_MERGE_SLASHES, as in meshConfig.pathNormalization.
    """
    bare = re.split(r"[?#]", path, maxsplit=1)[0]
    if not bare.startswith("/") or not bare.isascii() or "%" in ENCODED.sub("", bare):
        return None
    if how == "NONE":
        return bare
    if how == "DECODE_AND_MERGE_SLASHES":
        bare = re.sub("%5[Cc]", "\\\\", re.sub("%2[Ff]", "/", bare))
    elif how not in ("DEFAULT", "BASE", "MERGE_SLASHES"):
        return None
    bare = _without_dots(ENCODED.sub(_decoded, bare).replace("\\", "/"))
    return re.sub("/+", "/", bare) if how.endswith("MERGE_SLASHES") else bare


def _decoded(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if UNRESERVED.fullmatch(character) else found[0]


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4: `.` and `..` are resolved. Empty segments stay."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
            continue
        if last:
            kept.append("")
    return "/" + "/".join(kept)
