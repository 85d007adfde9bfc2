"""What a cluster is made of: the compiled binaries and the golden containerd root.

Both are cached, and made side by side.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshlab.clusters.local import build, dns, golden, images, network_policy, pins, rootfs, web_ui
from meshlab.clusters.local.golden import Golden
from meshlab.clusters.local.layout import Layout
from meshlab.clusters.local.oci import ImageSpec
from meshlab.config.settings import Machine
from meshlab.core.process import Runner
from meshlab.core.progress import Progress

BOOTSTRAP_TEMPLATE = Path("tools/packaging/common/envoy_bootstrap.json")  # inside the Istio module
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Materials:
    """binaries: name → path. golden: the root that nodes are cloned from. specs: the images in it."""

    binaries: Mapping[str, Path]
    golden: Golden
    specs: tuple[ImageSpec, ...]

    @property
    def sandbox_image(self) -> str:
        """The image that holds a pod's namespaces."""
        return self._reference("pause")

    @property
    def dns_image(self) -> str:
        """CoreDNS's image."""
        return self._reference("coredns")

    def _reference(self, name: str) -> str:
        return next(spec.reference for spec in self.specs if spec.name == f"{images.HUB}/{name}")


def gather(
    machine: Machine,
    addons: Sequence[str],
    *,
    runner: Runner,
    progress: Progress,
    stop: threading.Event | None = None,
    also: Sequence[str] = (),
) -> Materials:
    """Compile the binaries while the base root file system is made, then import the images. It takes seconds when warm.

    Args:
        machine: This machine: its cache and state folders, its PATH.
        addons: Names of addons, see `addon_images`.
        runner: Starts processes.
        progress: Gets what is being done.
        stop: Ends it when it is set. It is set here when one part fails, so that the other one ends, too.
        also: Names of stages that are compiled for this cluster, beside its own.

    Returns:
        All that a cluster is made of.

    Raises:
        BuildError: A binary or an image can't be made.
        ProcessError: A command failed.
        ClusterError: containerd does not run.
        WaitTimeout: Another run makes the same and never ends.
    """
    stop = stop or threading.Event()
    with ThreadPoolExecutor(max_workers=2) as pool, _set_on_failure(stop):
        compiled = pool.submit(
            build.build,
            ["cluster", *also],
            machine=machine,
            runner=runner,
            log_dir=machine.state / "logs",
            progress=progress,
            stop=stop,
        )
        based = pool.submit(
            rootfs.ensure, cache_dir=machine.cache, runner=runner, progress=progress, stop=stop
        )
        works: tuple[Future[Any], ...] = (compiled, based)
        for ended in wait(works, return_when=FIRST_EXCEPTION).done:
            ended.result()  # raises at once what one of them raised, and so stops the other
        binaries, base = compiled.result(), based.result()
    istio = build.module_dir(pins.ISTIO, machine=machine, runner=runner)
    specs = (
        *images.cluster_images(
            binaries,
            base=base,
            bootstrap_template=istio / BOOTSTRAP_TEMPLATE,
            layers=layer_cache(machine),
        ),
        *addon_images(machine, addons, runner=runner, progress=progress),
    )
    root = golden.ensure(specs, cache_dir=machine.cache, runner=runner, progress=progress, stop=stop)
    return Materials(binaries, root, specs)


@contextmanager
def _set_on_failure(stop: threading.Event) -> Iterator[None]:
    """Without it, a signal or a failure of one would wait until the other is done: a compile, say."""
    try:
        yield
    except BaseException:
        stop.set()
        raise


def addon_images(
    machine: Machine, addons: Sequence[str], *, runner: Runner, progress: Progress
) -> tuple[ImageSpec, ...]:
    """Describe the images of those addons whose binaries are compiled already; the others have none yet.

    Prometheus' has its web page in it where that was built, see `web_ui`.

    Args:
        machine: This machine, for its cache folder.
        addons: prometheus, jaeger, fortio.
        runner: Starts processes.
        progress: Gets what is being done.

    Returns:
        The images.

    Raises:
        BuildError: The base image can't be made.
        ProcessError: mmdebstrap failed.
    """
    programs = {name: (build.built(name, machine) or {}).get(name) for name in addons}
    if not any(programs.values()):
        return ()
    base = rootfs.ensure(cache_dir=machine.cache, runner=runner, progress=progress)
    layers = layer_cache(machine)
    pages = {"prometheus": web_ui.built(machine)}
    return tuple(
        images.addon_image(name, program, base=base, layers=layers, page=pages.get(name))
        for name, program in programs.items()
        if program
    )


def earlier_istio(
    machine: Machine, *, runner: Runner, progress: Progress, stop: threading.Event | None = None
) -> tuple[Path, tuple[ImageSpec, ImageSpec]]:
    """Compile the Istio from which an upgrade begins, where that was not done before, and describe its images.

    Args:
        machine: This machine: its cache and state folders, its PATH.
        runner: Starts processes.
        progress: Gets what is being done.
        stop: Ends it when it is set.

    Returns:
        Its istioctl, and its pilot and proxyv2.

    Raises:
        BuildError: It can't be compiled.
        ProcessError: mmdebstrap failed.
    """
    binaries = build.build(
        [pins.EARLIER], machine=machine, runner=runner, log_dir=machine.state / "logs", progress=progress, stop=stop
    )  # fmt: skip
    base = rootfs.ensure(cache_dir=machine.cache, runner=runner, progress=progress)
    source = build.module_dir(pins.ISTIO, machine=machine, runner=runner, stage=pins.EARLIER)
    specs = images.istio_images(
        binaries, base=base, bootstrap_template=source / BOOTSTRAP_TEMPLATE, layers=layer_cache(machine)
    )
    return binaries["istioctl"], specs


def layer_cache(machine: Machine) -> images.LayerCache:
    """Return the cache that remembers layers' digests."""
    return images.LayerCache(machine.cache / "layers")


def key(layout: Layout, *, also: Sequence[str] = ()) -> str:
    """Return 16 hexadecimal digits that change with what decides how the cluster is: shape, pins, base, this package.

    Args:
        layout: The cluster.
        also: Names of stages that are compiled for it, beside its own.

    Returns:
        The digits.
    """
    digest = hashlib.sha256()
    compiled = [pins.pins_key(pins.STAGES[stage]) for stage in ("cluster", *also)]
    words = (layout.node_count, layout.network, layout.domain, *compiled, rootfs.key())
    digest.update("\n".join(map(str, words)).encode())
    # The pins' Go sources are in their key already.
    sources = [path for path in HERE.rglob("*.py") if "gomod" not in path.parts]
    for path in sorted([*sources, dns.MANIFEST, network_policy.MANIFEST]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
