"""How what is said to people counts."""

from __future__ import annotations


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
