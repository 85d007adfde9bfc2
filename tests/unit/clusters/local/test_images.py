"""Each image starts as the upstream one that it stands for; official references find their replacement."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlab.clusters.local import images
from meshlab.clusters.local.images import LayerCache
from meshlab.clusters.local.oci import Entry, ImageSpec, Layer
from meshlab.core.errors import BuildError

BASE = Layer.of([Entry("etc/base", data=b"base")])
OURS = tuple(
    f"{images.HUB}/{name}:0123456789ab" for name in (*images.BOOKINFO, "curl", "prometheus", "pilot")
)


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, Path]:
    """Small files where the build would put binaries."""
    made = {}
    names = (
        "pilot-discovery",
        "pilot-agent",
        "coredns",
        "envoy",
        "prometheus",
        "jaeger",
        "fortio",
        "template",
    )
    for name in names:
        made[name] = tmp_path / "bin" / name
        made[name].parent.mkdir(exist_ok=True)
        made[name].write_text(f"program {name}")
    return made


@pytest.fixture
def layers(tmp_path: Path) -> LayerCache:
    return LayerCache(tmp_path / "layers")


def cluster(programs: dict[str, Path], layers: LayerCache) -> dict[str, ImageSpec]:
    specs = images.cluster_images(
        programs,
        base=BASE,
        bootstrap_template=programs["template"],
        layers=layers,
        envoy=programs["envoy"],
    )
    return {spec.name.removeprefix(f"{images.HUB}/"): spec for spec in specs}


def members(layer: Layer) -> dict[str, tarfile.TarInfo]:
    sink = io.BytesIO()
    layer.write_to(sink)
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as tar:
        return {member.name: member for member in tar}


def test_the_cluster_has_all_its_images(programs: dict[str, Path], layers: LayerCache) -> None:
    found = cluster(programs, layers)
    assert set(found) == {"pause", "pilot", "proxyv2", "coredns", "curl", "tcp-echo-server", *images.BOOKINFO}
    assert all(spec.layers[0] is BASE and spec.tag != "latest" for spec in found.values())


def test_the_cni_agents_image_is_made_where_the_agent_is_compiled(
    programs: dict[str, Path], layers: LayerCache
) -> None:
    for name in ("install-cni", "istio-cni"):
        programs[name] = programs["envoy"].with_name(name)
        programs[name].write_text(f"program {name}")
    agent = cluster(programs, layers)["install-cni"]
    assert agent.config.cmd == ("/usr/local/bin/install-cni",) and not agent.config.user
    inside = members(agent.layers[1])
    assert inside["opt/cni/bin/istio-cni"].mode == inside["usr/local/bin/install-cni"].mode == 0o755


def test_pilot_and_proxy_share_a_tag_that_follows_either(
    programs: dict[str, Path], layers: LayerCache
) -> None:
    before = cluster(programs, layers)
    assert before["pilot"].tag == before["proxyv2"].tag
    programs["envoy"].write_text("a newer envoy")
    after = cluster(programs, layers)
    assert after["pilot"].tag == after["proxyv2"].tag != before["pilot"].tag
    assert after["coredns"].tag == before["coredns"].tag


def test_the_proxy_image_is_as_istio_expects_it(programs: dict[str, Path], layers: LayerCache) -> None:
    proxy = cluster(programs, layers)["proxyv2"]
    inside = members(proxy.layers[1])
    assert inside["usr/local/bin/envoy"].mode == inside["usr/local/bin/pilot-agent"].mode == 0o755
    assert inside["var/lib/istio/envoy/envoy_bootstrap_tmpl.json"].isreg()
    assert inside["etc/istio/proxy"].isdir()
    assert proxy.config.entrypoint == ("/usr/local/bin/pilot-agent",)
    assert proxy.config.workdir == "/" and proxy.config.user == ""
    assert any(entry.startswith("PATH=") and "/usr/local/bin" in entry for entry in proxy.config.env)
    assert cluster(programs, layers)["pilot"].config.user == "1337:1337"


def test_bookinfo_is_one_layer_with_six_configurations(programs: dict[str, Path], layers: LayerCache) -> None:
    found = cluster(programs, layers)
    workloads = [found[name] for name in images.BOOKINFO]
    assert len({spec.layers for spec in workloads}) == 1
    assert "opt/bookinfo/__main__.py" in members(workloads[0].layers[1])
    assert len({spec.tag for spec in workloads}) == 6
    reviews = found["examples-bookinfo-reviews-v3"].config
    assert reviews.entrypoint[-2:] == ("reviews", "9080") and "STAR_COLOR=red" in reviews.env
    assert all(spec.config.user == "1000:1000" for spec in workloads)


@pytest.mark.parametrize(
    ("name", "entrypoint", "folder"),
    [("prometheus", "/bin/prometheus", "prometheus"), ("jaeger", "/cmd/jaeger/jaeger-linux", "badger")],
)
def test_addons_start_as_upstream(
    programs: dict[str, Path], layers: LayerCache, name: str, entrypoint: str, folder: str
) -> None:
    spec = images.addon_image(name, programs[name], base=BASE, layers=layers)
    assert spec.config.entrypoint == (entrypoint,)
    inside = members(spec.layers[1])
    assert inside[folder].mode == 0o777
    # Debian's /bin is a link to usr/bin, which a layer must not turn into a folder.
    assert "bin" not in inside


def test_fortio_starts_as_upstream_without_a_shell_and_not_as_root(
    programs: dict[str, Path], layers: LayerCache
) -> None:
    spec = images.addon_image("fortio", programs["fortio"], base=BASE, layers=layers)
    assert spec.config.entrypoint == ("/usr/bin/fortio",) and spec.config.user == "65534:65534"
    assert "usr/bin/fortio" in members(spec.layers[1])
    assert images.replacement("fortio/fortio:1.68.1", [spec.reference]) == spec.reference


def test_prometheus_finds_its_page_below_its_working_directory(
    programs: dict[str, Path], layers: LayerCache, tmp_path: Path
) -> None:
    page = tmp_path / "static"
    (page / "mantine-ui" / "assets").mkdir(parents=True)
    for name in ("index.html", "assets/index.js"):
        (page / "mantine-ui" / name).write_text(name)
    with_page, without = (
        images.addon_image("prometheus", programs["prometheus"], base=BASE, layers=layers, page=each)
        for each in (page, None)
    )
    inside = members(with_page.layers[-1])
    assert with_page.config.workdir == "/prometheus"
    assert {"prometheus/web/ui/static/mantine-ui/index.html"} <= set(inside)
    assert with_page.layers[:-1] == without.layers and with_page.reference != without.reference


def test_an_unknown_addon_or_a_missing_program_is_a_build_error(
    programs: dict[str, Path], layers: LayerCache
) -> None:
    with pytest.raises(BuildError, match="grafana"):
        images.addon_image("grafana", programs["coredns"], base=BASE, layers=layers)
    with pytest.raises(BuildError, match="missing"):
        images.addon_image("jaeger", programs["jaeger"].with_name("none"), base=BASE, layers=layers)
    del programs["coredns"]
    with pytest.raises(BuildError, match="coredns"):
        cluster(programs, layers)


def test_a_warm_start_reads_no_source_and_a_changed_one_is_seen(
    programs: dict[str, Path], layers: LayerCache
) -> None:
    source = programs["coredns"]
    entries = [Entry.program("coredns", source)]
    first = layers.layer(entries)
    before = source.stat()
    source.write_bytes(b"X" * before.st_size)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert layers.layer(entries) == first  # same size, time and inode: the note is believed
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert layers.layer(entries).digest != first.digest


@pytest.mark.parametrize(
    ("reference", "ours"),
    [
        ("registry.test/istio/examples-bookinfo-productpage-v1:1.20.3", "examples-bookinfo-productpage-v1"),
        ("registry.test:5000/release/examples-bookinfo-reviews-v3", "examples-bookinfo-reviews-v3"),
        ("registry.test/curlimages/curl:8.16.0", "curl"),
        ("curlimages/curl", "curl"),
        ("registry.test/prom/prometheus:v3.10.0@sha256:00", "prometheus"),
    ],
)
def test_upstream_references_find_their_replacement(reference: str, ours: str) -> None:
    assert images.replacement(reference, OURS) == f"{images.HUB}/{ours}:0123456789ab"


@pytest.mark.parametrize(
    "reference",
    [
        "registry.test/kiali/kiali:v2",
        "mycorp/prometheus:1",
        "curl",
        "examples-bookinfo-mysqldb:1",
        "jaegertracing/jaeger",
    ],
)
def test_what_has_no_replacement_keeps_its_image(reference: str) -> None:
    assert images.replacement(reference, OURS) is None


@given(st.text(max_size=60))
def test_no_text_breaks_the_replacement(reference: str) -> None:
    assert images.replacement(reference, OURS) in (None, *OURS)


def test_the_wheel_carries_an_executable_envoy() -> None:
    envoy = images.envoy_binary()
    with envoy.open("rb") as file:
        assert file.read(4) == b"\x7fELF"
    assert os.access(envoy, os.X_OK)
