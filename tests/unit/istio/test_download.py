import os
import platform
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from meshlab.config.settings import IstioSettings, LabConfig, Machine
from meshlab.core.errors import InputError, IstioError
from meshlab.core.progress import Update
from meshlab.istio import download
from meshlab.istio.distribution import downloads, locate, problems
from tests.fakes.clock import FakeClock
from tests.fakes.release import Releases, archive

VERSION = "1.29.8"
GOOD = archive(VERSION)
FLAVOUR = download.flavour_of(platform.system(), platform.machine())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.here({"HOME": str(tmp_path)})


@pytest.fixture
def serve() -> Iterator[Callable[..., Releases]]:
    with ExitStack() as stack:
        yield lambda content=GOOD, **how: stack.enter_context(Releases(VERSION, FLAVOUR, content, **how))


def fetch(server: Releases, machine: Machine, version: str = VERSION, **how) -> Path:
    return download.fetch(version, IstioSettings(download_url=server.url), machine, **how)


def test_a_right_archive_is_unpacked_once(serve, machine: Machine) -> None:
    server, told = serve(), []
    folder = fetch(server, machine, progress=told.append)
    assert folder == machine.cache / "istio" / f"istio-{VERSION}-{FLAVOUR}"
    assert os.access(folder / "bin" / "istioctl", os.X_OK) and (folder / "samples" / "readme").is_file()
    assert told[-1] == Update("download Istio", 1, 1, f"{VERSION}, verified")
    asked = len(server.asked)
    assert fetch(server, machine, version=f"v{VERSION}") == folder
    assert len(server.asked) == asked, "what is in the cache is not asked for again"
    assert sorted(path.name for path in folder.parent.iterdir() if not path.name.startswith(".")) == [
        folder.name
    ]


def test_a_damaged_archive_is_fetched_once_more(serve, machine: Machine) -> None:
    server = serve()
    server.damaged = 1
    assert fetch(server, machine).is_dir()


def test_an_archive_that_a_mirror_calls_encoded_is_kept_as_it_lies_there(serve, machine: Machine) -> None:
    server = serve()
    server.encoded = True
    assert (fetch(server, machine) / "samples" / "readme").is_file()


def test_what_stays_damaged_is_refused_and_not_kept(serve, machine: Machine) -> None:
    server = serve()
    server.damaged = 9
    with pytest.raises(IstioError, match=r"has the SHA-256 .*, the checksum beside it says") as caught:
        fetch(server, machine)
    assert "--set istio.download_url=URL" in caught.value.remedy
    assert [path.name for path in (machine.cache / "istio").iterdir() if not path.name.startswith(".")] == []


def test_a_wrong_checksum_is_refused(serve, machine: Machine) -> None:
    with pytest.raises(IstioError, match="the checksum beside it says 000"):
        fetch(serve(checksum="0" * 64 + "  istio.tar.gz"), machine)
    with pytest.raises(IstioError, match="holds no checksum"):
        fetch(serve(checksum="<html>sorry</html>"), machine)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_transfer_that_breaks_off_goes_on(serve, machine: Machine, ranges: bool) -> None:
    server = serve(archive(VERSION, {"big": os.urandom(2_000_000).hex()}))
    server.cut, server.ranges = 2, ranges
    assert fetch(server, machine).is_dir()
    asked = [where for path, where in server.asked if path == server.path]
    assert asked[0] == "" and all(where.startswith("bytes=") for where in asked[1:]) and len(asked) == 3


def test_what_is_always_cut_off_ends_with_an_error(serve, machine: Machine) -> None:
    server = serve(archive(VERSION, {"big": os.urandom(200_000).hex()}))
    server.cut = 99
    with pytest.raises(IstioError, match="can't download") as caught:
        fetch(server, machine)
    assert caught.value.retryable


def test_what_a_killed_run_left_is_used(serve, machine: Machine) -> None:
    server = serve()
    part = machine.cache / "istio" / f"istio-{VERSION}-{FLAVOUR}.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(server.content[:100])
    fetch(server, machine)
    assert (server.path, "bytes=100-") in server.asked
    (machine.cache / "istio" / f"istio-{VERSION}-{FLAVOUR}").rename(machine.cache / "away")
    part.write_bytes(server.content)  # all of it came, and then it was killed
    assert fetch(server, machine).is_dir()
    (machine.cache / "istio" / f"istio-{VERSION}-{FLAVOUR}").rename(machine.cache / "away2")
    part.write_bytes(b"another archive's begin")
    assert fetch(server, machine).is_dir()


def test_no_such_release(serve, machine: Machine) -> None:
    with pytest.raises(IstioError, match=r"there is no release 1\.99\.0 at") as caught:
        fetch(serve(), machine, version="1.99.0")
    assert "--istio-version VERSION" in caught.value.remedy


def test_too_slow_ends_at_the_deadline(serve, machine: Machine) -> None:
    server, clock = serve(archive(VERSION, {"big": os.urandom(400_000).hex()})), FakeClock()

    def slow(update: Update) -> None:
        clock.sleep(400)

    with pytest.raises(IstioError, match="too slow"):
        fetch(server, machine, progress=slow, clock=clock)


def test_nobody_answers(machine: Machine) -> None:
    with pytest.raises(IstioError, match=r"can't download http://127\.0\.0\.1:1/"):
        download.fetch(VERSION, IstioSettings(download_url="http://127.0.0.1:1"), machine)


def test_an_archive_that_is_none_or_holds_something_else(serve, machine: Machine) -> None:
    with pytest.raises(IstioError, match="can't be unpacked"):
        fetch(serve(b"no archive at all, but with the right checksum"), machine)
    with pytest.raises(IstioError, match=r"lacks istio-1\.29\.8/bin/istioctl"):
        fetch(serve(archive(VERSION, inside="something")), machine)
    with pytest.raises(IstioError, match="can't be unpacked"):
        fetch(serve(archive(VERSION, inside="../../outside")), machine)
    assert not (machine.cache / "outside").exists()


@pytest.mark.parametrize(
    ("kind", "name", "leads"),
    [
        (tarfile.SYMTYPE, "samples/link", "../../../outside"),
        (tarfile.SYMTYPE, "samples/link", "/etc/passwd"),
        (tarfile.LNKTYPE, "samples/link", "../outside"),
        (tarfile.REGTYPE, "/tmp/absolute", ""),
        (tarfile.FIFOTYPE, "samples/pipe", ""),
    ],
)
def test_what_would_lead_outside_is_not_unpacked(
    serve, machine: Machine, kind: bytes, name: str, leads: str
) -> None:
    entry = tarfile.TarInfo(name if name.startswith("/") else f"istio-{VERSION}/{name}")
    entry.type, entry.linkname = kind, leads
    with pytest.raises(IstioError, match=f"can't be unpacked: {entry.name} "):
        fetch(serve(archive(VERSION, extra=entry)), machine)


def test_a_link_inside_the_archive_is_unpacked(serve, machine: Machine) -> None:
    entry = tarfile.TarInfo(f"istio-{VERSION}/samples/link")
    entry.type, entry.linkname = tarfile.SYMTYPE, "../samples/readme"
    folder = fetch(serve(archive(VERSION, extra=entry)), machine)
    assert (folder / "samples" / "link").read_text() == "x"


@pytest.mark.parametrize(
    ("system", "cpu", "name"),
    [
        ("Linux", "x86_64", "linux-amd64"),
        ("Linux", "aarch64", "linux-arm64"),
        ("Linux", "armv7l", "linux-armv7"),
        ("Darwin", "arm64", "osx-arm64"),
        ("Darwin", "x86_64", "osx"),
    ],
)
def test_each_machine_has_its_archive(system: str, cpu: str, name: str) -> None:
    assert download.flavour_of(system, cpu) == name


def test_a_machine_without_a_release() -> None:
    for system, cpu in (("Linux", "s390x"), ("Windows", "AMD64")):
        with pytest.raises(IstioError, match="has no release for"):
            download.flavour_of(system, cpu)


def test_the_base_must_be_https_or_the_loopback() -> None:
    assert download.problems(IstioSettings()) == []
    assert download.problems(IstioSettings(download_url="http://127.0.0.1:80/x")) == []
    for bad in ("http://mirror.example.org", "ftp://mirror.example.org", "mirror.example.org", ""):
        [problem] = download.problems(IstioSettings(download_url=bad))
        assert problem.where == "--set istio.download_url"


def config(server: Releases, cluster: str = "gke", **istio: object) -> LabConfig:
    return LabConfig.model_validate({"cluster": cluster, "istio": {"download_url": server.url, **istio}})


def test_the_newest_that_fits_is_taken_and_its_samples(serve, machine: Machine) -> None:
    found = locate(config(serve()), machine=machine, kubernetes="v1.31.4-gke.1000")
    assert (found.version, found.samples.parent.name) == (VERSION, f"istio-{VERSION}-{FLAVOUR}")


def test_the_documents_version_is_refused_where_it_does_not_fit(serve, machine: Machine) -> None:
    with pytest.raises(InputError, match=r"supports Kubernetes 1\.26 to 1\.29, the cluster has v1\.34\.1"):
        locate(config(serve(), version="1.21.0"), machine=machine, kubernetes="v1.34.1")


def test_who_downloads(serve, machine: Machine, tmp_path: Path) -> None:
    server = serve()
    assert downloads(config(server), machine)
    assert not downloads(config(server, istioctl="/x/istioctl"), machine)
    assert not downloads(config(server, distribution="embedded"), machine)
    assert not downloads(config(server, cluster="existing"), machine)
    assert downloads(config(server, cluster="existing", version=VERSION), machine)
    assert downloads(config(server, cluster="local", distribution="release"), machine)
    assert not downloads(config(server, cluster="local"), machine), "the embedded one is compiled"
    assert problems(config(server, cluster="existing", version=VERSION), machine) == []
