"""How what is said to people counts."""

from __future__ import annotations

LEAST_ELAPSED, LEAST_SHARE = 10.0, 0.03  # seconds and share of the work from which on the rest can be told


def pluralize(number: float, things: str) -> str:
    """Put a number before its things: `pluralize(1, "nodes Ready")` gives "1 node Ready".

    Fractions are rounded.

    Args:
        number: How many.
        things: In the plural; the first word that ends in s is the noun.

    Returns:
        The words.
    """
    if round(number) != 1:
        return f"{number:.0f} {things}"
    words = things.split(" ")
    at = next((at for at, word in enumerate(words) if word.endswith("s") and word != "series"), None)
    if at is not None:
        words[at] = words[at][:-3] + "y" if words[at].endswith("ies") else words[at][:-1]
    return " ".join(["1", *words])


def time_left(elapsed: float, share: float) -> str:
    """Say how long work may still take that goes on as it did so far.

    Args:
        elapsed: Seconds so far.
        share: Of the work that is done, 0 to 1.

    Returns:
        "about 6 min left", "about 40 s left"; empty while too little is done to tell.
    """
    if elapsed < LEAST_ELAPSED or not LEAST_SHARE <= share < 1:
        return ""
    return f"about {roughly(elapsed * (1 - share) / share)} left"


def roughly(seconds: float) -> str:
    """Say a time as one says an estimate: "6 min", "40 s", at least "10 s".

    Args:
        seconds: The time.
    """
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(10, round(seconds, -1)):.0f} s"
