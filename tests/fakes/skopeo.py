"""skopeo, as far as the product uses it: it inspects and copies images of a table, and says on stderr why it can't."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping

from meshlab.clusters.local.archives import REF_ANNOTATION
from meshlab.clusters.local.oci import Entry, ImageSpec, Layer, RunConfig
from meshlab.core.errors import ProcessError
from meshlab.core.process import Completed
from tests.examples.archives import docker_save, oci_layout
from tests.fakes.programs import Call, FakePrograms

DIGEST = f"sha256:{'ab' * 32}"
SPEC = ImageSpec("x", "1", (Layer.of([Entry("etc/x", data=b"x")]),), RunConfig())
START = ("setpriv", "--pdeathsig", "TERM", "skopeo", "--override-os", "linux")


class FakeSkopeo(FakePrograms):
    """images: place in a registry, without transport → CPU. Others are unknown to their registry.

    failures: word of a command (`inspect`, `copy`) → what it says on stderr. late: words that never end in time.
    cut: copies leave half an archive.
    """

    def __init__(self, images: Mapping[str, str]) -> None:
        super().__init__()
        self.images = dict(images)
        self.failures: dict[str, str] = {}
        self.late: set[str] = set()
        self.cut = False

    def did(self, word: str) -> int:
        """How often a command was given."""
        return sum(word in words for words in self.commands)

    def answer(self, call: Call) -> Completed:
        words = call.words
        assert words[: len(START)] == START, words
        self.commands.append(words)
        word = next(each for each in words if each in ("inspect", "copy"))
        if word in self.late:
            raise ProcessError("skopeo ran past its deadline", argv=words, retryable=True)
        if word in self.failures:
            if word == "copy":
                self._write(call, "half", cut=True)
            return Completed(words, 1, "", f'time="now" level=fatal msg="{self.failures[word]}"\n', 0.0)
        place = next(each for each in words if each.startswith("docker://")).removeprefix("docker://")
        if word == "inspect":
            if place not in self.images:
                return Completed(words, 1, "", 'level=fatal msg="reading manifest: manifest unknown"\n', 0.0)
            return Completed(words, 0, f"{DIGEST} {self.images[place]}\n", "", 0.0)
        assert place.endswith(f"@{DIGEST}"), "what was inspected is copied, not what the tag names by then"
        form, _, reference = words[-1].partition(":image.tar:")
        if form == "docker-archive":  # under the whole name, as skopeo completes it
            assert call.cwd is not None
            docker_save(SPEC, call.cwd / "image.tar", f"completed.test/{reference}")
            return Completed(words, 0, "", "", 0.0)
        assert form == "oci-archive"
        self._write(call, reference, cut=self.cut)
        return Completed(words, 0, "", "", 0.0)

    def _write(self, call: Call, reference: str, *, cut: bool) -> None:
        assert call.cwd is not None
        path = oci_layout(SPEC, call.cwd / "image.tar", {REF_ANNOTATION: reference})
        if cut:
            path.write_bytes(path.read_bytes()[:700])
        else:
            assert tarfile.is_tarfile(path)
