import json

import jwt
import pytest

from meshlab.core.jwt import ALGORITHM, SigningKey
from meshlab.core.redaction import redact


def verified(key: SigningKey, text: str) -> dict[str, object]:
    public = jwt.PyJWKSet.from_json(key.jwks())[key.key_id]
    return jwt.decode(text, public, algorithms=[ALGORITHM])


def test_a_token_says_what_was_signed_and_verifies_with_the_key_set() -> None:
    key = SigningKey()
    text = key.sign({"sub": "reader"})
    assert verified(key, text) == {"sub": "reader"}
    assert jwt.get_unverified_header(text) == {"alg": "ES256", "typ": "JWT", "kid": key.key_id}


def test_the_key_set_has_the_public_key_only() -> None:
    key = SigningKey()
    [public] = json.loads(key.jwks())["keys"]
    assert set(public) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (public["kty"], public["crv"], public["alg"], public["kid"]) == (
        "EC",
        "P-256",
        "ES256",
        key.key_id,
    )


def test_another_key_of_the_same_name_signs_nothing_that_verifies() -> None:
    key = SigningKey()
    assert SigningKey().key_id != key.key_id
    with pytest.raises(jwt.InvalidSignatureError):
        verified(key, SigningKey(key.key_id).sign({"sub": "reader"}))


def test_a_token_is_hidden_wherever_it_turns_up() -> None:
    text = SigningKey().sign({"sub": "reader"})
    assert text not in redact(f"got {text} from the caller")
