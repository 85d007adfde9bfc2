"""Keys that sign JSON Web Tokens for one run. They live in memory; tokens in the requests that carry them, nowhere else."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from meshlab.core.redaction import register

ALGORITHM = "ES256"


class SigningKey:
    """A key pair on P-256. key_id: what tokens and key set call it, another one each time unless it is given."""

    def __init__(self, key_id: str = "") -> None:
        self.key_id = key_id or secrets.token_hex(8)
        self._key = ec.generate_private_key(ec.SECP256R1())

    def jwks(self) -> str:
        """The public key as a JSON Web Key Set (RFC 7517)."""
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
        return json.dumps({"keys": [{**public, "kid": self.key_id, "use": "sig", "alg": ALGORITHM}]})

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token with just these claims (times as datetime or seconds since the epoch); hidden wherever it turns up."""
        text = jwt.encode(dict(claims), self._key, algorithm=ALGORITHM, headers={"kid": self.key_id})
        register(text)
        return text
