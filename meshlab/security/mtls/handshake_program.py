"""Runs inside a pod, handed to `python3 -c`: asks servers for their certificates, as any peer would.

Standard library only. argv[1]: JSON {targets: [[address, port], …], alpn, seconds}. Prints one line of JSON,
a list with an answer for each target in their order: {certificate: base64 of the DER} or {error: text}. No
client certificate is offered: with TLS 1.3 the server shows its own before it asks for ours.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import sys


def certificate_of(address: str, port: int, alpn: str, seconds: float) -> bytes:
    """The server's leaf certificate, in DER. Raises OSError (ssl.SSLError among them)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is judged where the mesh's root is known
    context.set_alpn_protocols([alpn])
    plain = socket.create_connection((address, port), timeout=seconds)
    with plain, context.wrap_socket(plain) as secured:
        return secured.getpeercert(binary_form=True) or b""


def main() -> None:
    """Ask the targets that argv[1] names."""
    wanted = json.loads(sys.argv[1])
    answers = []
    for address, port in wanted["targets"]:
        try:
            found = certificate_of(address, port, wanted["alpn"], wanted["seconds"])
            answers.append({"certificate": base64.b64encode(found).decode()})
        except OSError as problem:
            answers.append({"error": str(problem) or type(problem).__name__})
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
