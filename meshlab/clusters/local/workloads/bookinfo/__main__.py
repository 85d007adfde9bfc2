"""`python3 -m bookinfo SERVICE PORT`: one of productpage, details, reviews, ratings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from .backends import details, ratings, reviews
from .productpage import Productpage
from .web import Service, fetch, serve

NAMES = ("productpage", "details", "reviews", "ratings")


def build(name: str, env: Mapping[str, str]) -> Service:
    """The service called `name`, set up from its environment. Raises KeyError for a name that is none."""
    makers: dict[str, Callable[[], Service]] = {
        "productpage": lambda: Productpage(env, fetch),
        "details": lambda: details(env),
        "reviews": lambda: reviews(env, fetch),
        "ratings": lambda: ratings(env),
    }
    return makers[name]()


def main(words: list[str]) -> None:
    """Serve what the command line names; exits with 2 and the usage when it names nothing."""
    if len(words) != 2 or words[0] not in NAMES or not words[1].isdigit():
        print(f"usage: python3 -m bookinfo {{{','.join(NAMES)}}} PORT", file=sys.stderr)
        raise SystemExit(2)
    serve(int(words[1]), build(words[0], os.environ))


if __name__ == "__main__":
    main(sys.argv[1:])
