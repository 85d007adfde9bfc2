"""Reports are published to folders and to an S3 on loopback; a place that can't be written is told before the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from pydantic import ValidationError

from meshlab.cli.preflight import preflight
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import MeshlabError
from meshlab.report.publish import opened_at, publish, publish_problems, published_at

SECRET = "hunter2-hunter2-hunter2"
NAMES = ("report.html", "junit.xml", "result.json")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A client of the server, with a bucket `reports`; the process's environment leads there."""
    for name, value in (("ENDPOINT_URL", endpoint), ("ACCESS_KEY_ID", "lab"), ("SECRET_ACCESS_KEY", SECRET),
                        ("DEFAULT_REGION", "us-east-1")):  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket="reports")
    yield client
    for each in client.list_objects_v2(Bucket="reports").get("Contents", []):
        client.delete_object(Bucket="reports", Key=each["Key"])


def keys_in(client: object) -> list[str]:
    return [each["Key"] for each in client.list_objects_v2(Bucket="reports").get("Contents", [])]  # type: ignore[attr-defined]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(f"this is {name}", encoding="utf-8")
    return folder


def config(address: str) -> LabConfig:
    return LabConfig.model_validate({"cluster": "existing", "report": {"publish": address}})


def said(address: str, tmp_path: Path) -> list[str]:
    machine = Machine.here({"HOME": str(tmp_path)})
    return [str(each) for each in preflight(config(address), machine, spoiled=set(), need_cluster=False)]


def test_the_files_lie_under_the_run_s_id(s3: object, directory: Path) -> None:
    for _ in range(2):  # what is there is replaced
        publish(directory, NAMES, "s3://reports/mesh/", "r-1")
    assert keys_in(s3) == [f"mesh/r-1/{name}" for name in sorted(NAMES)]
    body = s3.get_object(Bucket="reports", Key="mesh/r-1/report.html")["Body"].read()  # type: ignore[attr-defined]
    assert body == b"this is report.html"
    assert published_at("s3://reports/mesh/", "r-1") == "s3://reports/mesh/r-1/report.html"


def test_a_folder_takes_them_too(directory: Path, tmp_path: Path) -> None:
    address = (tmp_path / "shared" / "reports").as_uri()
    assert said(address, tmp_path) == [] and not (tmp_path / "shared").exists()
    publish(directory, NAMES, address, "r-1")
    assert sorted(each.name for each in (tmp_path / "shared" / "reports" / "r-1").iterdir()) == sorted(NAMES)


def test_a_place_that_can_be_written_is_left_as_it_was(s3: object, tmp_path: Path) -> None:
    assert said("s3://reports/mesh", tmp_path) == [] and keys_in(s3) == []


def test_a_bucket_that_is_not_there_is_told_and_not_made(s3: object, directory: Path, tmp_path: Path) -> None:
    (told,) = said("s3://nobodys/mesh", tmp_path)
    assert "report.publish s3://nobodys/mesh" in told and "bucket" in told and SECRET not in told
    with pytest.raises(MeshlabError, match="can't be written"):
        publish(directory, NAMES, "s3://nobodys/mesh", "r-1")
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["reports"]  # type: ignore[attr-defined]


def test_a_store_that_does_not_answer_is_told(
    s3: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    (told,) = said("s3://reports/mesh", tmp_path)
    assert "127.0.0.1:9" in told and SECRET not in told


def test_a_folder_that_can_not_be_made_and_an_unknown_store_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (told,) = said((tmp_path / "file" / "x").as_uri(), tmp_path)
    assert "is no directory" in told
    (told,) = said("nowhere://x/y", tmp_path)
    assert "nowhere://" in told and "s3://" in told


def test_what_a_store_raises_is_told_without_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses:
        def pipe_file(self, path: str, data: bytes) -> None:
            raise ValueError(f"Authorization: Bearer {SECRET}-and-much-more-of-it-to-be-a-token")

    monkeypatch.setattr("meshlab.report.publish._store", lambda address: Refuses())
    (problem,) = publish_problems("s3://reports/mesh")
    assert SECRET not in str(problem) and "ValueError" in str(problem)


@pytest.mark.parametrize(
    "address",
    ["reports", "s3://", f"s3://lab:{SECRET}@reports/x", f"s3://reports/x?sig={SECRET}", "file://folder", "s3://a b/c"],
)  # fmt: skip
def test_an_address_that_is_none_or_holds_a_secret_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        config(address)


def test_google_s_store_is_opened_by_a_page() -> None:
    assert opened_at("gs://reports/mesh/r-1/report.html") == (
        "https://storage.cloud.google.com/reports/mesh/r-1/report.html"
    )
    assert opened_at("s3://reports/r-1/report.html") == "s3://reports/r-1/report.html" and opened_at("") == ""
