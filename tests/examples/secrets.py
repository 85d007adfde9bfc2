"""Secrets that tests plant and then search for. Made anew in every run; they open nothing."""

from __future__ import annotations

import base64

import jwt
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()  # fmt: skip
TOKEN = jwt.encode({"sub": "audit", "iss": "unit@test.invalid"}, "k" * 32, algorithm="HS256")
OPAQUE = "planted-opaque-t0ken-4711"
KUBECONFIG = yaml.safe_dump(
    {
        "users": [
            {
                "name": "u",
                "user": {
                    "token": "kub3-c0nfig-token-0815",
                    "client-key-data": base64.b64encode(KEY.encode()).decode(),
                },
            }
        ]
    }
)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
