"""What is tracked names no package index, no image registry, and nothing of the machine it was written on.

The patterns are spelled so that they don't match themselves.
"""

import ipaddress
import re
from functools import cache
from pathlib import Path

import pytest

from meshlab.core.process import SystemRunner

ROOT = Path(__file__).resolve().parents[2]
# Machine-made lists of modules and packages, whose names are hosts of source code by the language's design.
LOCKS = (
    "go.sum",
    "go.mod",
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-go.lock",
    "requirements-node.lock",
)
URL = re.compile(r"\b(?:https?|grpc|wss?)://([^/\s\"'`<>()\[\]|\\,]+)")
# Where a reader may be sent to: documentation, specifications, namespaces.
PUBLIC = (
    "docs.prefect.io",
    "en.wikipedia.org",
    "github.com",
    "grafana.com",
    "istio.io",
    "json-schema.org",
    "kubernetes.io",
    "prometheus.io",
    "storage.cloud.google.com",
    "vega.github.io",
    "www.apache.org",
    "www.w3.org",
)
RESERVED = (
    "localhost",
    ".svc",
    ".cluster.local",
    "example.org",
    "example.com",
    ".test",
    ".invalid",
)  # RFC 2606
REGISTRIES = [
    r"\b(docker|gcr|quay|ghcr|mcr\.microsoft)\.(i[o]|co[m])\b",
    r"\b(registry|registry-1|index)\.(docker|k8s|access)\b",
    r"\b[a-z0-9-]+\.pkg\.de[v]\b",
    r"\b(py[p]i|files\.pythonh[o]sted)\.org\b",
    r"\b(proxy|sum)\.golan[g]\.org\b",
    r"\b(deb|ftp)\.debia[n]\.org\b",
    r"\b(registry\.n[p]mjs|crate[s])\.(org|io)\b",
    r"(?<![\w-])--(extra-)?index-ur[l]\b",
    r"(?<![\w-])--find-link[s]\b",
    r"\bGOPROX[Y]\s*[:=]+\s*[\"']?http",
]
IMAGES = REGISTRIES[:2]  # of images; the others are of packages
THIS_MACHINE = [
    r"(?<![\w.*}>/-])/wor[k]/",
    r"(?<![\w.*}>/-])/roo[t]/(?!\.local|\.cache)",
    r"(?<![\w.*}>/-])/hom[e]/(?!me\b)[a-z]+/",
    r"(?<![\w.*}>/-])/tmp/[a-z]/",
    r"/opt/wheel[s]",
    r"\.librar[y]/",
]


@cache
def tracked() -> dict[str, str]:
    """Path → text of each tracked file that is text."""
    # A clone may belong to another user than the one who runs the tests.
    git = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z"]
    names = SystemRunner().run(git, timeout=60).stdout.split("\0")
    texts = {}
    for name in filter(None, names):
        try:
            texts[name] = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
    return texts


def lines(pattern: str | re.Pattern[str]) -> list[tuple[str, str]]:
    """Each line that a pattern matches, with where it stands; lock files left out. Most files have none."""
    return [
        (f"{name}:{number}", line)
        for name, text in tracked().items()
        if Path(name).name not in LOCKS and re.search(pattern, text)
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]


def is_harmless(host: str) -> bool:
    """Whether a URL's host is a placeholder, private, reserved for examples, or public documentation."""
    if not host.isascii() or re.search(r"[{}$%*]", host):
        return True
    name = host.rpartition("@")[2].split(":")[0]
    try:
        return ipaddress.ip_address(name).is_private
    except ValueError:
        return name in PUBLIC or name.endswith(RESERVED) or "." not in name


def test_urls_lead_to_examples_to_ourselves_or_to_documentation() -> None:
    wrong = [
        f"{place}: {host}"
        for place, line in lines(URL)
        for host in URL.findall(line)
        if not is_harmless(host)
    ]
    assert wrong == []


def may_name(pattern: str, place: str) -> bool:
    """Whether a line may name a registry of images: they stand in one file of data, and in pages for people."""
    in_pages = place.startswith("docs/") and place.partition(":")[0].endswith(".md")
    return pattern in IMAGES and (in_pages or place.startswith("meshlab/istio/registries.yaml:"))


@pytest.mark.parametrize("pattern", REGISTRIES)
def test_no_registry_and_no_index_is_named(pattern: str) -> None:
    assert [place for place, _ in lines(pattern) if not may_name(pattern, place)] == []


def test_image_registries_may_be_named_by_data_and_pages_and_package_indexes_by_nobody() -> None:
    assert all(may_name(each, "meshlab/istio/registries.yaml:8") for each in IMAGES)
    assert all(may_name(each, "docs/gke.md:8") for each in IMAGES)
    assert not any(may_name(each, "meshlab/istio/install.py:8") for each in REGISTRIES)
    assert not any(may_name(each, "docs/gke.md:8") for each in set(REGISTRIES) - set(IMAGES))


@pytest.mark.parametrize("pattern", THIS_MACHINE)
def test_nothing_of_this_machine_is_named(pattern: str) -> None:
    assert lines(pattern) == []


def test_the_clone_does_not_name_its_own_place() -> None:
    assert len(ROOT.parts) <= 2 or lines(re.escape(f"{ROOT}/")) == []


def test_lock_files_name_no_index() -> None:
    for name, text in tracked().items():
        if name.endswith(".lock"):
            assert not URL.search(text), name


@pytest.mark.parametrize(
    ("host", "harmless"),
    [
        ("127.0.0.1:8080", True),
        ("10.177.0.10:6443", True),
        ("productpage.default.svc", True),
        ("productpage:9080", True),
        ("{host}", True),
        ("proxy.example.org", True),
        ("istio.io", True),
        ("mirror.corp.net", False),
        ("user:secret@mirror.corp.net:443", False),
        ("8.8.8.8", False),
    ],
)
def test_the_rule_tells_a_strange_host_from_a_harmless_one(host: str, harmless: bool) -> None:
    assert is_harmless(host) is harmless


def test_the_patterns_see_what_they_are_there_to_see() -> None:
    seen = {
        "https://" + "docker" + ".io/istio/pilot": REGISTRIES,
        "image: registry." + "k8s.io/pause": REGISTRIES,
        "pip install --index" + "-url x": REGISTRIES,
        "see /wor" + "k/shared": THIS_MACHINE,
        "open('/roo" + "t/notes')": THIS_MACHINE,
    }
    for text, patterns in seen.items():
        assert any(re.search(pattern, text) for pattern in patterns), text
    assert len(tracked()) > 100
