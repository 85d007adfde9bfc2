"""A kept lab's pages: a link only where the page's own HTML answers, and a word where not."""

from __future__ import annotations

import socket
import threading
import urllib.request

import pytest

from meshlab.config.settings import LabConfig, PagesSettings
from meshlab.lifecycle import kept_lab
from meshlab.lifecycle.kept_lab import KeptLab, Link, Place, lines, probe
from meshlab.report.tables import link_rows
from tests.fakes.http_server import FakeHttpServer, Reply
from tests.fakes.kube import FakeKube

PAGE = "<!DOCTYPE html>\n<HTML lang='en'><body>a page</body></html>"
PLACE = Place("Jaeger", "istio-system", "tracing", 80, "/jaeger/", "not the Jaeger UI")


def test_a_link_is_given_where_a_page_answers() -> None:
    with FakeHttpServer({"/jaeger/": Reply(PAGE)}) as server:
        assert probe(PLACE, server.url) == Link("Jaeger", f"{server.url}/jaeger/")


@pytest.mark.parametrize(
    "reply",
    [
        Reply("Error opening index.html: no such file", 500),
        Reply({"status": "success"}),
        Reply(PAGE.replace("a page", "this is not the Jaeger UI you are looking for")),
        Reply(PAGE, 404),
    ],
)
def test_anything_else_is_an_api_only(reply: Reply) -> None:
    with FakeHttpServer({"/jaeger/": reply}) as server:
        link = probe(PLACE, server.url)
    assert (link.url, link.kind) == (server.url, "api")
    assert "API only" in link.note and "report.html" in link.note
    assert server.url in lines([link])[0] and "API only" in lines([link])[0]


def test_a_place_that_does_not_answer_says_why() -> None:
    link = probe(PLACE, "http://127.0.0.1:1", why=lambda: "no pod of it is Ready")
    assert (link.url, "no pod of it is Ready" in link.note) == ("", True)


def test_what_is_not_there_is_listed_and_ends_nothing() -> None:
    kube = FakeKube()
    held = KeptLab(kube, LabConfig()).open()  # type: ignore[arg-type]
    assert [link.name for link in held.links] == ["productpage", "Prometheus", "Grafana", "Jaeger", "Kiali"]
    assert {link.url for link in held.links} == {""}
    assert "no Ready pod app=sleep" in held.loop_note
    stop = threading.Event()
    stop.set()
    held.hold(stop=stop)
    page = urllib.request.urlopen(held.start.url, timeout=5).read().decode()
    assert "does not run here" in page and "Service graph" in page
    held.close()
    with pytest.raises(OSError):
        urllib.request.urlopen(held.start.url, timeout=5)
    held.close()  # twice is fine
    said = lines(held.links, held.loop_note)
    assert len(said) == 6 and "none: no Ready pod" in said[-1]


def test_a_port_that_was_taken_meanwhile_costs_the_start_page_only() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        config = LabConfig(pages=PagesSettings(port=other.getsockname()[1]))
        held = KeptLab(FakeKube(), config).open()  # type: ignore[arg-type]
    assert held.start.url == "" and "another program listens" in held.start.note and len(held.links) == 5
    held.close()


def test_the_pods_own_addresses_are_links_that_need_no_port_forward() -> None:
    with FakeHttpServer({"/": Reply(PAGE)}) as server:
        host, port = server.url.removeprefix("http://").split(":")
        labels = {"kubernetes.io/service-name": "prometheus"}
        meta = {"name": "prometheus", "namespace": "istio-system"}
        kube = FakeKube(
            [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": meta,
                    "spec": {"ports": [{"port": 9090}]},
                },
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {**meta, "labels": labels},
                    "ports": [{"name": "", "port": int(port)}],
                    "endpoints": [
                        {"addresses": ["192.0.2.1"], "conditions": {"ready": False}},
                        {"addresses": [host], "conditions": {"ready": True}},
                    ],
                },
            ]
        )
        links = {link.name: link for link in kept_lab.links_to_pods(kube, LabConfig())}  # type: ignore[arg-type]
        assert links["Prometheus"] == Link("Prometheus", f"{server.url}/")
    assert {links[name].url for name in ("productpage", "Grafana", "Jaeger", "Kiali")} == {""}


def test_it_is_handed_over_once() -> None:
    held = KeptLab(FakeKube(), LabConfig())  # type: ignore[arg-type]
    kept_lab.hand_over(held)
    assert kept_lab.take_kept_lab() is held
    assert kept_lab.take_kept_lab() is None


def test_links_are_shown_as_links_in_tables() -> None:
    rows = link_rows(
        [{"name": "a", "url": "http://127.0.0.1:1/", "note": ""}, {"name": "b", "url": "", "note": "x"}]
    )
    assert [row["link"] for row in rows] == ["[http://127.0.0.1:1/](http://127.0.0.1:1/)", ""]
    assert rows[1]["note"] == "x"
