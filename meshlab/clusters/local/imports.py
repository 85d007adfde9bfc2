"""Image archives onto every node, or onto none."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from meshlab.clusters.local import containerd
from meshlab.clusters.local.archives import ImageArchive
from meshlab.core.process import Runner


def bring(brought: Sequence[ImageArchive], sockets: Sequence[Path], *, runner: Runner) -> None:
    """Import every image of some archives on every node. Where one fails, what was new is taken out of all again.

    Args:
        brought: The archives.
        sockets: Of the nodes' containerds.
        runner: Starts `ctr`.

    Raises:
        ProcessError: An import failed; no node has an image that it had not before.
    """
    references = {reference for archive in brought for reference in archive.images}
    new: dict[Path, list[str]] = {}

    def add(socket: Path) -> None:
        new[socket] = sorted(references - set(containerd.image_names(socket, runner=runner)))
        for archive in brought:
            containerd.import_archive(socket, archive.path, runner=runner)

    def take_back(socket: Path) -> None:
        if new.get(socket):
            containerd.remove_images(socket, new[socket], runner=runner)

    with ThreadPoolExecutor(max_workers=len(sockets)) as pool:
        try:
            list(pool.map(add, sockets))
        except BaseException:
            pool.shutdown()  # no import goes on while its images are taken out
            with ThreadPoolExecutor(max_workers=len(sockets)) as again:
                list(again.map(take_back, sockets))
            raise
