"""JSON Web Tokens of an issuer that exists for one run: good ones, and one of every kind that must be refused."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from jwt.utils import base64url_decode, base64url_encode

ISSUER, AUDIENCE = "issuer.meshlab.test", "edge.meshlab.test"
ALGORITHM = "RS256"
LIFETIME = timedelta(minutes=10)


@dataclass(frozen=True)
class TokenCase:
    """One kind of request. token: None for none; never shown. status: what the gateway must answer.

    why: what decides it. Statuses: Envoy answers 401 to a token that it can't trust, 403 to one for somebody
    else (its jwt_authn filter); a request without any passes that filter, and the policy answers 403.
    """

    name: str
    token: str | None = field(repr=False)
    status: int
    why: str


class Issuer:
    """Signs tokens with a key that lives as long as this object.

    name, audience: what good tokens carry as `iss` and `aud`. key_id: the key's name, another one each time.
    """

    def __init__(self, name: str = ISSUER, audience: str = AUDIENCE) -> None:
        self.name, self.audience = name, audience
        self.key_id = secrets.token_hex(4)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def jwks(self) -> str:
        """The public key as a JSON Web Key Set: what the gateway checks signatures with."""
        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return json.dumps({"keys": [{**public, "kid": self.key_id, "use": "sig", "alg": ALGORITHM}]})

    def token(self, *, lifetime: timedelta = LIFETIME, **claims: Any) -> str:
        """A signed token. lifetime: from now to its end, negative for an expired one. claims: replace."""
        now = datetime.now(UTC)
        payload = {
            "iss": self.name,
            "aud": self.audience,
            "sub": "reader",
            "iat": now - timedelta(hours=1),
            "exp": now + lifetime,
            **claims,
        }
        return jwt.encode(payload, self._key, algorithm=ALGORITHM, headers={"kid": self.key_id})

    def cases(self) -> tuple[TokenCase, ...]:
        """The six tokens that the gateway is shown, the good one first."""
        good = self.token()
        return (
            TokenCase("valid token", good, 200, "issuer, audience, time and signature are right"),
            TokenCase("no token", None, 403, "the policy asks for the identity in a token"),
            TokenCase("expired token", self.token(lifetime=timedelta(minutes=-5)), 401, "exp has passed"),
            TokenCase(
                "wrong issuer", self.token(iss=f"other.{self.name}"), 401, "iss is not the configured one"
            ),
            TokenCase(
                "wrong audience", self.token(aud=f"other.{self.audience}"), 403, "aud is somebody else's"
            ),
            TokenCase("tampered signature", tampered(good), 401, "the signature is of another text"),
        )


def tampered(token: str) -> str:
    """The token with one bit of its signature turned over: well-formed, and signed by nobody."""
    head, _, signature = token.rpartition(".")
    raw = bytearray(base64url_decode(signature))
    raw[len(raw) // 2] ^= 1
    return f"{head}.{base64url_encode(bytes(raw)).decode()}"
