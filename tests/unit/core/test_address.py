from urllib.parse import urlsplit

import pytest

from meshlab.core.address import host_port


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("productpage.default.svc", "productpage.default.svc:9080"),
        ("10.1.0.7", "10.1.0.7:9080"),
        ("2001:db8:42::16", "[2001:db8:42::16]:9080"),
    ],
)
def test_host_and_port_can_be_told_apart_again(host: str, wanted: str) -> None:
    assert host_port(host, 9080) == wanted
    url = urlsplit(f"http://{wanted}/health")
    assert (url.hostname, url.port) == (host, 9080)
