"""Archives that a user brings are understood in both formats, and named with a remedy where they are not."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path

import pytest

from meshlab.clusters.local import archives
from meshlab.clusters.local.oci import Entry, ImageSpec, Layer, RunConfig
from meshlab.errors import InputError
from tests.examples.archives import add, docker_save, oci_layout
from tests.fakes.runner import FakeRunner

GRAFANA = "docker.io/grafana/grafana:12.0.1"


def spec() -> ImageSpec:
    layers = (Layer.of([Entry("etc/base", data=b"base")]), Layer.of([Entry("usr/bin/x", data=b"x")]))
    return ImageSpec("localhost/meshlab/x", "1", layers, RunConfig(entrypoint=("/usr/bin/x",)))


def test_what_docker_saves_is_read(tmp_path: Path) -> None:
    archive = archives.read(docker_save(spec(), tmp_path / "a.tar", "grafana/grafana:12.0.1", "curl:8"))
    assert archive.format == "docker save"
    assert set(archive.images) == {GRAFANA, "docker.io/library/curl:8"}


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        (None, {"localhost/meshlab/x:1": "localhost/meshlab/x:1"}),
        ({archives.NAME_ANNOTATION: "grafana/grafana:12.0.1"}, {GRAFANA: "grafana/grafana:12.0.1"}),
        ({archives.REF_ANNOTATION: GRAFANA}, {GRAFANA: GRAFANA}),
    ],
)
def test_a_layout_is_read_by_its_names(
    tmp_path: Path, annotations: dict[str, str] | None, images: dict[str, str]
) -> None:
    archive = archives.read(oci_layout(spec(), tmp_path / "a.tar", annotations))
    assert (archive.format, dict(archive.images)) == ("OCI layout", images)


def test_a_file_with_both_indexes_is_read_by_the_one_that_names_it(tmp_path: Path) -> None:
    path = oci_layout(spec(), tmp_path / "a.tar", {archives.REF_ANNOTATION: "12.0.1"})
    listed = [{"Config": "oci-layout", "RepoTags": ["grafana/grafana:12.0.1"], "Layers": []}]
    with tarfile.open(path, "a") as tar:
        add(tar, "manifest.json", json.dumps(listed).encode())
    assert set(archives.read(path).images) == {GRAFANA}


def test_every_bad_archive_is_named_with_its_remedy(tmp_path: Path) -> None:
    whole = oci_layout(spec(), tmp_path / "whole.tar")
    bad = {
        name: tmp_path / name for name in ("none", "text", "zipped", "cut", "other", "unnamed", "tag", "odd")
    }
    bad["text"].write_text("not an archive, whatever its name says" * 50)
    bad["zipped"].write_bytes(gzip.compress(whole.read_bytes()))
    bad["cut"].write_bytes(whole.read_bytes()[:2000])
    with tarfile.open(bad["other"], "w") as tar:
        add(tar, "README", b"some files")
    docker_save(spec(), bad["unnamed"])
    oci_layout(spec(), bad["tag"], {archives.REF_ANNOTATION: "latest"})
    with tarfile.open(bad["odd"], "w") as tar:
        add(tar, "manifest.json", b'{"a": 1}')
    found = {
        problem.where.rpartition("/")[2]: problem for problem in archives.problems([whole, *bad.values()])
    }
    assert set(found) == set(bad)
    for name, words in {
        "none": "No such file", "text": "no tar archive", "zipped": "compressed", "cut": "whole",
        "other": "neither", "unnamed": "names no image", "tag": "names no image", "odd": "can't be understood",
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


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        ("curl", "docker.io/library/curl:latest"),
        ("grafana/grafana:12", "docker.io/grafana/grafana:12"),
        ("quay.example/kiali/kiali:v2", "quay.example/kiali/kiali:v2"),
        ("localhost/x", "localhost/x:latest"),
        ("registry:5000/x@sha256:ab", "registry:5000/x@sha256:ab"),
    ],
)
def test_short_references_are_completed(short: str, whole: str) -> None:
    assert archives.whole(short) == whole


def test_an_image_gets_the_name_that_a_kubelet_asks_for(tmp_path: Path) -> None:
    short = oci_layout(spec(), tmp_path / "short.tar", {archives.NAME_ANNOTATION: "grafana/grafana:12.0.1"})
    saved = docker_save(spec(), tmp_path / "saved.tar", "curl:8")
    ctr = "ctr --address /s --connect-timeout 5s --namespace k8s.io images"
    imported = f"{ctr} import --snapshotter overlayfs"
    expected = (
        f"{imported} {short}",
        f"{ctr} tag --force grafana/grafana:12.0.1 {GRAFANA}",
        f"{imported} {saved}",
    )
    runner = FakeRunner({tuple(words.split()): "" for words in expected})
    for path in (short, saved):
        archives.bring(Path("/s"), archives.read(path), runner=runner)
    assert [" ".join(words) for words in runner.commands] == list(expected)
