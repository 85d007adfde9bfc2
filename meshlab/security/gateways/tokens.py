"""JSON Web Tokens of an issuer that exists for one run: good ones, and one of every kind that must be refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from jwt.utils import base64url_decode, base64url_encode

from meshlab.core.jwt import SigningKey

ISSUER, AUDIENCE = "issuer.meshlab.test", "edge.meshlab.test"
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
    """Signs tokens with a key that lives as long as this object. name, audience: good tokens' `iss` and `aud`."""

    def __init__(self, name: str = ISSUER, audience: str = AUDIENCE) -> None:
        self.name, self.audience = name, audience
        self._key = SigningKey()

    @property
    def key_id(self) -> str:
        """The key's name, another one each time."""
        return self._key.key_id

    @property
    def jwks(self) -> str:
        """The public key as a JSON Web Key Set: what the gateway checks signatures with."""
        return self._key.jwks()

    def token(self, *, lifetime: timedelta = LIFETIME, **claims: Any) -> str:
        """Sign a token.

        Args:
            lifetime: From now to its end; negative for an expired one.
            **claims: Replace the usual ones.

        Returns:
            The token's text, a secret.
        """
        now = datetime.now(UTC)
        usual = {"iss": self.name, "aud": self.audience, "sub": "reader"}
        return self._key.sign({**usual, "iat": now - timedelta(hours=1), "exp": now + lifetime, **claims})

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
