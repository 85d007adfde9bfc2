"""Debian's docker-registry on loopback, and images of ours in it under official names."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import yaml

from meshlab.clusters.local import archives
from meshlab.clusters.local.oci import Entry, ImageSpec, Layer, RunConfig
from meshlab.core.waiting import wait
from tests.examples.archives import oci_layout

USER, PASSWORD = "reader", "right-pass-4711"
HASHED = "$2b$04$Uti/oo8RhwWsa5dPqL86A.PRm.25DAyrDWD7hc7FAo6kF2UTulhsi"  # of the password, by bcrypt
INSTALL = "sh deployments/setup-debian.sh tests/debian-packages.txt"


def stand_in(layers: tuple[Layer, ...], config: RunConfig) -> ImageSpec:
    """An image to be pushed under a name of others."""
    return ImageSpec("localhost/meshlab/stand-in", "1", layers, config)


class Registry:
    """A registry on a free port of loopback, with its data in a folder."""

    def __init__(self, folder: Path, *, locked: bool = False) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.place = f"127.0.0.1:{free.getsockname()[1]}"
        settings: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": self.place},
        }
        if locked:
            (folder / "htpasswd").write_text(f"{USER}:{HASHED}\n")
            settings["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        (folder / "config.yml").write_text(yaml.safe_dump(settings))

    def __enter__(self) -> Registry:
        program = shutil.which("docker-registry")
        assert program and shutil.which("skopeo"), f"skopeo and docker-registry are not installed: {INSTALL}"
        # A variable REGISTRY_AUTH_FILE means skopeo's credentials to skopeo, and a setting to this registry.
        others = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, "serve", str(self.folder / "config.yml")], stdout=log, stderr=log, env=others
            )
        wait("the registry", self._answers, ready=bool, timeout=60, delay=0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text()
        host, _, port = self.place.partition(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def push(self, name: str, content: bytes = b"a page") -> None:
        """Put an image that holds one file under an official name."""
        layers = (Layer.of([Entry("srv/index.html", data=content)]),)
        self.push_image(name, stand_in(layers, RunConfig(entrypoint=("/bin/true",))))

    def push_image(self, name: str, spec: ImageSpec) -> None:
        """Put an image under an official name."""
        path = oci_layout(spec, self.folder / "push.tar", {archives.REF_ANNOTATION: "push"})
        target = f"docker://{self.place}/{name.partition('/')[2]}"
        words = ["skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", f"{USER}:{PASSWORD}"]
        subprocess.run([*words, f"oci-archive:{path}", target], check=True, capture_output=True, timeout=60)
