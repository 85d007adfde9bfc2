"""Archives that a user brings are understood in both formats, and named with a remedy where they are not."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path

import pytest

from meshlab.clusters.local import archives
from meshlab.clusters.local.oci import Entry, ImageSpec, Layer, RunConfig
from meshlab.core.errors import InputError
from tests.examples.archives import add, docker_save, oci_layout

GRAFANA = "registry.test/grafana/grafana:12.0.1"


def spec() -> ImageSpec:
    layers = (Layer.of([Entry("etc/base", data=b"base")]), Layer.of([Entry("usr/bin/x", data=b"x")]))
    return ImageSpec("localhost/meshlab/x", "1", layers, RunConfig(entrypoint=("/usr/bin/x",)))


def test_what_docker_saves_is_read(tmp_path: Path) -> None:
    archive = archives.read(docker_save(spec(), tmp_path / "a.tar", "grafana/grafana:12.0.1", "curl:8"))
    assert archive.format == "docker save"
    assert archive.images == ("grafana/grafana:12.0.1", "curl:8")


@pytest.mark.parametrize(
    ("annotations", "image"),
    [
        (None, "localhost/meshlab/x:1"),
        ({archives.NAME_ANNOTATION: GRAFANA, archives.REF_ANNOTATION: "12.0.1"}, GRAFANA),
        ({archives.REF_ANNOTATION: GRAFANA}, GRAFANA),
    ],
)
def test_a_layout_is_read_by_its_names(
    tmp_path: Path, annotations: dict[str, str] | None, image: str
) -> None:
    archive = archives.read(oci_layout(spec(), tmp_path / "a.tar", annotations))
    assert (archive.format, archive.images) == ("OCI layout", (image,))


def test_a_file_with_both_indexes_is_read_by_the_one_that_names_it(tmp_path: Path) -> None:
    path = oci_layout(spec(), tmp_path / "a.tar", {archives.REF_ANNOTATION: "12.0.1"})
    listed = [{"Config": "oci-layout", "RepoTags": ["grafana/grafana:12.0.1"], "Layers": []}]
    with tarfile.open(path, "a") as tar:
        add(tar, "manifest.json", json.dumps(listed).encode())
    assert archives.read(path).images == ("grafana/grafana:12.0.1",)


def test_every_bad_archive_is_named_with_its_remedy(tmp_path: Path) -> None:
    whole = oci_layout(spec(), tmp_path / "whole.tar")
    bad = {
        name: tmp_path / name
        for name in ("none", "text", "zipped", "cut", "other", "unnamed", "tag", "odd", "short")
    }
    bad["text"].write_text("not an archive, whatever its name says" * 50)
    bad["zipped"].write_bytes(gzip.compress(whole.read_bytes()))
    bad["cut"].write_bytes(whole.read_bytes()[:2000])
    with tarfile.open(bad["other"], "w") as tar:
        add(tar, "README", b"some files")
    docker_save(spec(), bad["unnamed"])
    oci_layout(spec(), bad["tag"], {archives.REF_ANNOTATION: "latest"})
    oci_layout(spec(), bad["short"], {archives.NAME_ANNOTATION: "grafana/grafana:12.0.1"})
    with tarfile.open(bad["odd"], "w") as tar:
        add(tar, "manifest.json", b'{"a": 1}')
    found = {
        problem.where.rpartition("/")[2]: problem for problem in archives.problems([whole, *bad.values()])
    }
    assert set(found) == set(bad)
    for name, words in {
        "none": "No such file", "text": "tar archive", "zipped": "compressed", "cut": "whole",
        "other": "neither", "unnamed": "names no image", "tag": "names no image", "odd": "can't be understood",
        "short": "without its registry",
    }.items():  # fmt: skip
        assert words in found[name].what, found[name]
        assert found[name].remedy
    assert "gzip -d" in found["zipped"].remedy


def test_a_layout_without_its_blobs_is_not_whole(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "oci-layout", b"{}")
        entry = {"digest": "sha256:abc", "annotations": {archives.NAME_ANNOTATION: GRAFANA}}
        add(tar, "index.json", json.dumps({"manifests": [entry]}).encode())
    with pytest.raises(InputError, match="lacks blobs/sha256/abc"):
        archives.read(tmp_path / "a.tar")
