"""Network addresses as URLs and tools write them."""

from __future__ import annotations


def host_port(host: str, port: int | str | None) -> str:
    """Join a host and a port.

    Args:
        host: A name, an IPv4 address or an IPv6 address without brackets.
        port: The port.

    Returns:
        `host:port`; an IPv6 address stands in brackets, as RFC 3986 wants it.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
