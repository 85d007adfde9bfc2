"""Keys and tokens made for one run. They live in memory and in the requests that carry them, nowhere else."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from meshlab.authz.model import Token
from meshlab.redaction import register

LIFETIME = 900  # seconds that a good token is good: more than a stage takes, less than a pause


@dataclass(frozen=True)
class Issued:
    """A token: what it says, and its text, which is a secret and so is left out of every representation."""

    token: Token
    text: str = field(repr=False)


class Issuer:
    """Signs tokens with a key of its own (ES256). name: what `iss` says; unique, so that no rule is met by chance."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or f"meshlab-{secrets.token_hex(6)}"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._id = secrets.token_hex(8)

    def jwks(self) -> str:
        """The public key as a JSON Web Key Set (RFC 7517)."""
        key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
        return json.dumps({"keys": [{**key, "kid": self._id, "use": "sig", "alg": "ES256"}]})

    def issue(self, name: str, claims: Mapping[str, Any], *, now: float) -> Issued:
        """A token called `name` with these claims beside iss, sub, iat and exp. now: seconds since the epoch."""
        return self._issue(name, claims, now, self._key, signed=True)

    def forge(self, name: str, claims: Mapping[str, Any], *, now: float) -> Issued:
        """The same in another's name: signed by a key that is not the issuer's."""
        return self._issue(name, claims, now, ec.generate_private_key(ec.SECP256R1()), signed=False)

    def _issue(
        self,
        name: str,
        claims: Mapping[str, Any],
        now: float,
        key: ec.EllipticCurvePrivateKey,
        *,
        signed: bool,
    ) -> Issued:
        said = {"iss": self.name, "sub": name, "iat": int(now) - 60, "exp": int(now) + LIFETIME, **claims}
        text = jwt.encode(said, key, algorithm="ES256", headers={"kid": self._id})
        register(text)  # hidden wherever it might still turn up
        return Issued(Token(name, said, signed), text)


def run_tokens(issuer: Issuer, *, now: float) -> dict[str, Issued]:
    """The tokens of the truth table: of the editors, of other readers, one that has expired, and a forged one."""
    editors = {"groups": ["readers", "editors"]}
    return {
        "editor": issuer.issue("editor", editors, now=now),
        "reader": issuer.issue("reader", {"groups": ["readers"]}, now=now),
        "expired": issuer.issue(
            "expired", {**editors, "exp": int(now) - 3600, "iat": int(now) - 7200}, now=now
        ),
        "forged": issuer.forge("forged", editors, now=now),
    }
