"""`python -m meshlab.faults.page RESULT.JSON … PAGE.MD`: writes docs/sabotage.md from a run, and later ones of single faults."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from jinja2 import UndefinedError

from meshlab.core.text import pluralize
from meshlab.report.catches import page


def main(arguments: list[str]) -> int:
    """Returns the exit code: 2 for a file that is no result of such a run."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    *sources, target = map(Path, arguments)
    results = []
    for source in sources:
        try:
            results.append(json.loads(source.read_text(encoding="utf-8")))
            text = page(*results)
        except (OSError, ValueError, KeyError, TypeError, UndefinedError) as problem:
            print(f"{source} is no result.json of a run of the flow sabotage: {problem!r}", file=sys.stderr)
            return 2
        if not results[-1]["catches"]:
            print(f"{source} has no catches: name a run of the flow sabotage", file=sys.stderr)
            return 2
    target.write_text(text, encoding="utf-8")
    told = {catch["fault"] for result in results for catch in result["catches"]}
    print(f"{target}: {pluralize(len(told), 'faults')}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
