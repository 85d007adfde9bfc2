"""What a JSON value is made of: the path of each of its keys, and the kinds of its values, without the values.

A path is "hosts[] > name": `[]` for any item of a list, `*` for any key of a mapping from names (pods, files, answer codes …)
to values. The rows of a list have columns, never names. A kind is text, number, bool, null, list, mapping or empty (a
mapping without keys).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ANY = "*"
FIELD = re.compile(
    r"[a-z][a-z0-9_]*\Z"
)  # how the product spells its own keys; anything else is somebody's name
BELOW = " > "
OPTIONAL = "?"  # ends the path of a key that not all mappings there have


@dataclass(frozen=True)
class Shape:
    """kinds: path → kinds seen there. optional: paths of keys that not all mappings there have."""

    kinds: Mapping[str, frozenset[str]]
    optional: frozenset[str] = frozenset()

    @classmethod
    def of(cls, *values: Any) -> Shape:
        """Give the shape that all the values have."""
        kinds: dict[str, frozenset[str]] = {}
        optional: set[str] = set()
        _collect("", list(values), kinds, optional)
        return cls(kinds, frozenset(optional))

    @classmethod
    def read(cls, lines: Mapping[str, str]) -> Shape:
        """Read what `written` has written."""
        kinds = {path.removesuffix(OPTIONAL): frozenset(each.split("|")) for path, each in lines.items()}
        return cls(kinds, frozenset(path.removesuffix(OPTIONAL) for path in lines if path.endswith(OPTIONAL)))

    def written(self) -> dict[str, str]:
        """Give path → kinds, as a record keeps it."""
        return {
            path + OPTIONAL * (path in self.optional): "|".join(sorted(self.kinds[path]))
            for path in sorted(self.kinds)
        }


def differences(record: Shape, found: Shape) -> Iterator[str]:
    """Say which keys are new, which are gone, and where a value is of another kind.

    What is null or empty on one side can't be compared: it is no difference.
    """
    names = _names_of(record) | _names_of(found)
    record, found = _with_names(record, names), _with_names(found, names)
    for path in sorted({*record.kinds, *found.kinds}):
        above = _above(path)
        if path not in found.kinds:
            if "mapping" in found.kinds.get(above, ()) and path not in record.optional:
                yield f"{path} is gone"
        elif path not in record.kinds:
            if "mapping" in record.kinds.get(above, ()):
                yield f"{path} is new"
        else:
            was, more = _solid(record.kinds[path]), _solid(found.kinds[path]) - _solid(record.kinds[path])
            if was and more:
                yield f"{path} is {' or '.join(sorted(more))}, was {' or '.join(sorted(was))}"


def _collect(path: str, values: list[Any], kinds: dict[str, frozenset[str]], optional: set[str]) -> None:
    kinds[path] = frozenset(map(_kind, values))
    items = [item for value in values if isinstance(value, list) for item in value]
    if items:
        _collect(f"{path}[]", items, kinds, optional)
    mappings = [value for value in values if isinstance(value, dict) and value]
    keys = sorted({key for mapping in mappings for key in mapping})
    if path and not path.endswith("[]") and not all(FIELD.match(key) for key in keys):
        below = [value for mapping in mappings for value in mapping.values()]
        _collect(_join(path, ANY), below, kinds, optional)
        return
    for key in keys:
        having = [mapping[key] for mapping in mappings if key in mapping]
        if len(having) < len(mappings):
            optional.add(_join(path, key))
        _collect(_join(path, key), having, kinds, optional)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "mapping" if value else "empty"
    if isinstance(value, list):
        return "list"
    if value is None or isinstance(value, bool):
        return "null" if value is None else "bool"
    return "number" if isinstance(value, (int, float)) else "text"


def _solid(kinds: frozenset[str]) -> set[str]:
    """The kinds that tell something: a mapping without keys is a mapping."""
    return {"mapping" if kind == "empty" else kind for kind in kinds} - {"null"}


def _join(path: str, key: str) -> str:
    return f"{path}{BELOW}{key}" if path else key


def _above(path: str) -> str:
    """The path of the mapping that has this key, or of the list that has this item."""
    return path.removesuffix("[]") if path.endswith("[]") else path.rpartition(BELOW)[0]


def _names_of(shape: Shape) -> set[str]:
    """Paths of the mappings from names."""
    return {_above(path) for path in shape.kinds if path.rpartition(BELOW)[2].removesuffix("[]") == ANY}


def _with_names(shape: Shape, names: set[str]) -> Shape:
    """The shape with `*` for each key of the mappings at these paths: all names there may be spelled as fields."""
    kinds: dict[str, frozenset[str]] = {}
    optional = set()
    for path, seen in shape.kinds.items():
        folded = ""
        for part in path.split(BELOW) if path else []:
            folded = _join(folded, ANY + part[len(part.rstrip("[]")) :] if folded in names else part)
        kinds[folded] = kinds.get(folded, frozenset()) | seen
        if path in shape.optional or folded.endswith(ANY):
            optional.add(folded)
    return Shape(kinds, frozenset(optional))
