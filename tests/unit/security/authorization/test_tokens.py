"""Tokens made for a run: good ones verify, and none of them shows."""

from __future__ import annotations

import json
import time

import jwt
import pytest

from meshlab.security.authorization.tokens import Issuer, run_tokens

NOW = time.time()


def verified(issuer: Issuer, text: str) -> dict[str, object]:
    key = jwt.PyJWKSet.from_json(issuer.jwks()).keys[0]
    assert jwt.get_unverified_header(text)["kid"] == key.key_id
    return jwt.decode(text, key, algorithms=["ES256"], issuer=issuer.name)


def test_tokens_are_what_they_say() -> None:
    issuer = Issuer()
    tokens = run_tokens(issuer, now=NOW)
    assert verified(issuer, tokens["editor"].text) == tokens["editor"].token.claims
    assert verified(issuer, tokens["reader"].text)["groups"] == ["readers"]
    with pytest.raises(jwt.ExpiredSignatureError):
        verified(issuer, tokens["expired"].text)
    with pytest.raises(jwt.InvalidSignatureError):
        verified(issuer, tokens["forged"].text)
    assert [name for name, one in tokens.items() if not one.token.signed] == ["forged"]


def test_the_key_set_is_public_and_no_token_shows() -> None:
    issuer = Issuer()
    assert "d" not in json.loads(issuer.jwks())["keys"][0]
    for one in run_tokens(issuer, now=NOW).values():
        assert one.text not in repr(one) and one.text.split(".")[2] not in repr(one)


def test_two_runs_share_nothing() -> None:
    assert Issuer().name != Issuer().name and Issuer().jwks() != Issuer().jwks()
