"""Archives are reproducible, whole, and hold each blob once."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlab.clusters.local.oci import (
    Entry,
    ImageSpec,
    Layer,
    RunConfig,
    content_tag,
    write_archive,
    write_tree,
)
from meshlab.core.errors import BuildError


def blobs_of(archive: Path) -> dict[str, bytes]:
    """Member name → content; a member that occurs twice fails."""
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            assert member.name not in found
            source = tar.extractfile(member)
            assert source is not None
            found[member.name] = source.read()
    return found


def spec(name: str, *layers: Layer) -> ImageSpec:
    config = RunConfig(entrypoint=("/run-it",), user="1000:1000")
    return ImageSpec(f"localhost/x/{name}", content_tag(layers, config), layers, config)


def test_an_archive_holds_every_image_and_each_blob_once(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF" * 5000)
    base = Layer.of([Entry("etc/base", data=b"base")])
    top = Layer.of([Entry.program("usr/bin/program", program)])
    specs = [spec("one", base, top), spec("two", base), spec("three", base, top)]
    size = write_archive(specs, tmp_path / "a.tar")
    assert size == (tmp_path / "a.tar").stat().st_size
    found = blobs_of(tmp_path / "a.tar")
    for name, content in found.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    index = json.loads(found["index.json"])
    names = [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]]
    assert names == [one.reference for one in specs]
    for entry in index["manifests"]:
        manifest = json.loads(found[f"blobs/{entry['digest'].replace(':', '/')}"])
        for part in (manifest["config"], *manifest["layers"]):
            assert len(found[f"blobs/{part['digest'].replace(':', '/')}"]) == part["size"]
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
        layer = Layer.of([Entry.program("bin/x", tmp_path / name), Entry("bin/y", data=b"x")])
        write_archive([spec("one", layer)], tmp_path / f"{name}.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_layer_unpacks_to_what_was_put_in(tmp_path: Path) -> None:
    layer = Layer.of(
        [
            Entry("etc/x", data=b"1", mode=0o600),
            Entry("bin/y", data=b"2", mode=0o700),
            Entry.folder("tmp", 0o1777),
        ]
    )
    sink = io.BytesIO()
    layer.write_to(sink)
    assert len(sink.getvalue()) == layer.size
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as tar:
        members = {member.name: member for member in tar}
    assert list(members) == ["bin", "bin/y", "etc", "etc/x", "tmp"]
    assert members["etc/x"].mode == 0o600 and members["tmp"].mode == 0o1777
    assert members["bin/y"].mode == 0o700 and members["etc"].isdir()
    assert {(m.uid, m.gid, m.mtime) for m in members.values()} == {(0, 0, 0)}


def test_a_source_that_changed_since_its_digest_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "p"
    source.write_bytes(b"one")
    layer = Layer.of([Entry.program("p", source)])
    source.write_bytes(b"two")
    with pytest.raises(BuildError, match="changed") as caught:
        write_archive([spec("one", layer)], tmp_path / "a.tar")
    assert caught.value.retryable


def test_a_missing_source_is_a_build_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="none"):
        Layer.of([Entry.program("p", tmp_path / "none")])


def test_a_packed_tree_keeps_modes_and_links_and_forgets_times(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/tool").write_bytes(b"x")
    (root / "usr/bin/tool").chmod(0o4755)
    (root / "bin").symlink_to("usr/bin")
    (root / "usr/bin/again").hardlink_to(root / "usr/bin/tool")
    write_tree(root, tmp_path / "one.tar")
    (root / "usr/bin/tool").touch()
    write_tree(root, tmp_path / "two.tar")
    assert Layer.of_archive(tmp_path / "one.tar").digest == Layer.of_archive(tmp_path / "two.tar").digest
    with tarfile.open(tmp_path / "one.tar") as tar:
        assert tar.getmember("bin").issym() and tar.getmember("usr/bin/tool").islnk()
        assert tar.getmember("usr/bin/again").mode == 0o4755


def test_an_archive_layer_is_copied_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/file").write_text("x")
    write_tree(tmp_path / "root", tmp_path / "layer.tar")
    layer = Layer.of_archive(tmp_path / "layer.tar")
    write_archive([spec("one", layer)], tmp_path / "a.tar")
    blob = blobs_of(tmp_path / "a.tar")[f"blobs/{layer.digest.replace(':', '/')}"]
    assert blob == (tmp_path / "layer.tar").read_bytes()


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=5))
def test_any_sizes_stay_aligned(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    archive = tmp_path_factory.mktemp("any") / "a.tar"
    layers = [Layer.of([Entry(f"f{n}", data=data)]) for n, data in enumerate(contents)]
    write_archive([spec("one", *layers)], archive)
    found = blobs_of(archive)
    assert all(f"blobs/{layer.digest.replace(':', '/')}" in found for layer in layers)


def test_a_tag_follows_layers_and_configuration() -> None:
    one, two = Layer.of([Entry("a", data=b"1")]), Layer.of([Entry("a", data=b"2")])
    tags = {
        content_tag([one], RunConfig()),
        content_tag([two], RunConfig()),
        content_tag([one], RunConfig(user="1")),
        content_tag([one, two], RunConfig()),
    }
    assert len(tags) == 4 and "latest" not in tags


def test_a_header_never_goes_without_its_content_through_tarfile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since Python 3.13 `addfile` refuses that; on an older Python the same rule holds here."""
    add = tarfile.TarFile.addfile

    def strict(self: tarfile.TarFile, member: tarfile.TarInfo, content: io.IOBase | None = None) -> None:
        if content is None and member.isreg() and member.size:
            raise ValueError("fileobj not provided for non zero-size regular file")
        add(self, member, content)  # type: ignore[arg-type]

    monkeypatch.setattr(tarfile.TarFile, "addfile", strict)
    layer = Layer.of([Entry("etc/x", data=b"x" * 1000)])
    write_archive([spec("one", layer)], tmp_path / "a.tar")
    assert sum(name.startswith("blobs/") for name in blobs_of(tmp_path / "a.tar")) == 3
