import pytest

from meshlab.core.text import pluralize


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
