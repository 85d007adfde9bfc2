import pytest

from meshlab.core.text import pluralize, time_left


@pytest.mark.parametrize(
    ("number", "things", "said"),
    [
        (3, "nodes Ready", "3 nodes Ready"),
        (0, "nodes", "0 nodes"),
        (1, "nodes Ready", "1 node Ready"),
        (1, "Ready nodes", "1 Ready node"),
        (1, "proxies of a mesh", "1 proxy of a mesh"),
        (1, "AuthorizationPolicies (normalisation BASE)", "1 AuthorizationPolicy (normalisation BASE)"),
        (1, "series", "1 series"),
        (2.6, "requests", "3 requests"),
    ],
)
def test_one_thing_is_said_in_the_singular(number: float, things: str, said: str) -> None:
    assert pluralize(number, things) == said


@pytest.mark.parametrize(
    ("elapsed", "share", "said"),
    [
        (5, 0.5, ""),
        (100, 0.01, ""),
        (100, 1.0, ""),
        (60, 0.5, "about 60 s left"),
        (60, 0.25, "about 3 min left"),
        (100, 0.99, "about 10 s left"),
    ],
)
def test_the_time_left_is_told_once_enough_is_done(elapsed: float, share: float, said: str) -> None:
    assert time_left(elapsed, share) == said
