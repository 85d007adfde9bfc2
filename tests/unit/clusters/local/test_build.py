"""A compile's outputs: made once per key, whole or not at all, safe beside another run."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshlab.clusters.local import build, compile_profile, compiler, pins, toolchain
from meshlab.clusters.local.pins import STAGES, Stage, Target
from meshlab.config.settings import Machine
from meshlab.core.errors import BuildError
from meshlab.core.process import SystemRunner
from meshlab.core.progress import Update
from tests.fakes.clock import FakeClock
from tests.fakes.go import FakeGo


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with empty folders and a `go` on its PATH."""
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text("#!/bin/sh\n")
    go.chmod(0o755)
    return Machine(cache=tmp_path / "cache", state=tmp_path / "state", home=tmp_path, path=str(go.parent))


def _build(machine: Machine, runner: FakeGo, *stages: str, **more: Any) -> dict[str, Path]:
    return build.build(
        stages or ("cluster",), machine=machine, runner=runner, log_dir=machine.home / "logs", **more
    )


def test_a_cold_build_makes_every_binary_and_records_its_checksum(machine: Machine, tmp_path: Path) -> None:
    fake = FakeGo(source=tmp_path)
    updates: list[Update] = []
    found = _build(machine, fake, progress=updates.append)

    assert set(found) == {target.name for target in STAGES["cluster"].targets}
    assert found["etcd"].read_text() == "binary of go.etcd.io/etcd/server/v3"
    sums = build.checksums("cluster", machine)
    assert sums["istioctl"] == hashlib.sha256(found["istioctl"].read_bytes()).hexdigest()
    shown = [update.percent for update in updates if update.percent is not None]
    assert shown == sorted(shown)
    assert updates[-1].percent == 100
    assert "example.org/package/2" in (tmp_path / "logs" / "compile-cluster.log").read_text()
    assert not list(build.output_dir("cluster", machine).parent.glob("*.part"))


def test_the_time_that_is_left_is_told_by_the_weight_of_what_is_compiled(
    machine: Machine, tmp_path: Path
) -> None:
    names = {
        "a": 2_000_000,
        "b": 2_000_000,
        "c": 0,
        "d": 0,
    }  # with one link: two thirds once a and b have begun
    clock, updates = FakeClock(), list[Update]()

    class Slow(FakeGo):
        def _build(self, words: tuple[str, ...], on_line: Callable[[str], None] | None) -> str:
            assert on_line is not None
            for name in names:
                on_line(name)
                clock.sleep(60)
            return ""

    work = compiler.Compiler(
        STAGES["jaeger"], Slow(), machine.path, tmp_path / "log", updates.append, clock=clock
    )
    work.compile(tmp_path, tmp_path, names)
    told = [update.detail for update in updates if "left" in update.detail]
    assert told[0] == "about 2 min left; b"  # 60 s for a third
    assert told[1] == "about 60 s left; c"


def test_the_compiler_may_let_garbage_lie_where_there_is_memory(machine: Machine) -> None:
    fake = FakeGo()
    _build(machine, fake)
    given = dict(zip([words[1] for words in fake.commands], fake.environments, strict=True))
    assert given["build"].get("GOGC", "") == toolchain.collection(
        toolchain.free_memory(), os.cpu_count() or 1
    ).get("GOGC", "")
    assert "GOGC" not in given["list"]


def test_the_stages_are_built_apart(machine: Machine) -> None:
    found = _build(machine, FakeGo(), "prometheus", "jaeger")
    assert set(found) == {"prometheus", "jaeger"}
    assert build.built("cluster", machine) is None
    assert found["prometheus"].parent != found["jaeger"].parent


def test_prometheus_is_compiled_with_kubernetes_discovery_only(machine: Machine) -> None:
    fake = FakeGo()
    _build(machine, fake, "prometheus")
    (command,) = [words for words in fake.commands if words[1] == "build"]
    assert command[command.index("-tags") + 1] == "remove_all_sd,enable_kubernetes_sd"


def test_a_warm_build_starts_no_process(machine: Machine) -> None:
    first = _build(machine, FakeGo())
    fake = FakeGo()
    assert _build(machine, fake) == first == build.built("cluster", machine)
    assert fake.commands == []


@pytest.mark.parametrize("damage", ["cut off", "missing", "not executable", "manifest"])
def test_what_is_not_whole_is_built_again(machine: Machine, damage: str) -> None:
    kubelet = _build(machine, FakeGo())["kubelet"]
    if damage == "cut off":
        kubelet.write_text("bin")
    elif damage == "missing":
        kubelet.unlink()
    elif damage == "not executable":
        kubelet.chmod(0o644)
    else:
        (kubelet.parent / build.MANIFEST).write_text('{"binaries": {')
    assert build.built("cluster", machine) is None
    assert _build(machine, FakeGo())["kubelet"].read_text() == "binary of k8s.io/kubernetes/cmd/kubelet"
    assert build.built("cluster", machine) is not None


def test_what_a_killed_run_left_is_removed(machine: Machine) -> None:
    left = build.output_dir("cluster", machine).with_suffix(".part") / "out" / "kubelet"
    left.parent.mkdir(parents=True)
    left.write_text("half of it")
    _build(machine, FakeGo())
    assert not left.exists()


def test_a_failed_build_leaves_nothing_and_the_next_one_heals_it(machine: Machine) -> None:
    with pytest.raises(BuildError, match=r"undefined: y") as caught:
        _build(machine, FakeGo(fail={"build": "errors\n# example.org/x\n./x.go:3:1: undefined: y\n"}))
    assert caught.value.remedy
    assert build.built("cluster", machine) is None
    assert [path.suffix for path in build.output_dir("cluster", machine).parent.iterdir()] == [".lock"]
    assert _build(machine, FakeGo())


def test_an_unreachable_module_proxy_may_be_tried_again(machine: Machine) -> None:
    said = 'go: k8s.io/api@v0.36.1: Get "https://proxy.example.org/x": dial tcp: lookup: no such host'
    with pytest.raises(BuildError) as caught:
        _build(machine, FakeGo(fail={"list": said}))
    assert caught.value.retryable
    assert "GOPROXY" in caught.value.remedy


def test_a_folder_that_cannot_be_written_is_named(machine: Machine) -> None:
    (machine.home / "logs").write_text("a file, where the folder should be")
    with pytest.raises(BuildError, match="logs") as caught:
        _build(machine, FakeGo())
    assert "writable" in caught.value.remedy


def test_a_stop_ends_the_compile(machine: Machine) -> None:
    stop = threading.Event()
    fake = FakeGo()
    with pytest.raises(BuildError, match="was stopped"):
        _build(machine, fake, stop=stop, progress=lambda update: stop.set())
    assert build.built("cluster", machine) is None


def test_the_second_run_says_that_it_waits_and_takes_the_first_ones_result(machine: Machine) -> None:
    folder = build.output_dir("cluster", machine)
    folder.parent.mkdir(parents=True)
    holder = folder.with_suffix(".lock").open("w")
    fcntl.flock(holder, fcntl.LOCK_EX)
    other = machine.model_copy(update={"cache": machine.home / "other"})

    def first_run_ends(now: float) -> None:
        if now < 3 or holder.closed:
            return
        _build(other, FakeGo())
        build.output_dir("cluster", other).rename(folder)
        holder.close()

    fake = FakeGo()
    updates: list[Update] = []
    found = _build(machine, fake, progress=updates.append, clock=FakeClock(on_sleep=first_run_ends))
    assert found["kubelet"].exists()
    assert fake.commands == []
    assert "waiting for another run that compiles the same" in [update.detail for update in updates]


def test_a_stop_ends_the_wait_for_another_run(machine: Machine) -> None:
    folder = build.output_dir("cluster", machine)
    folder.parent.mkdir(parents=True)
    stop = threading.Event()
    with folder.with_suffix(".lock").open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(BuildError, match="was stopped"):
            _build(machine, FakeGo(), stop=stop, clock=FakeClock(on_sleep=lambda now: stop.set()))


def test_the_source_of_a_module_is_free_when_it_is_recorded_and_there(
    machine: Machine, tmp_path: Path
) -> None:
    source = tmp_path / "istio"
    source.mkdir()
    _build(machine, FakeGo(source=source))
    refuses = FakeGo()
    assert build.module_dir(pins.ISTIO, machine=machine, runner=refuses) == source
    assert refuses.commands == []

    source.rmdir()
    again = tmp_path / "again"
    asked = FakeGo(source=again)
    assert build.module_dir(pins.ISTIO, machine=machine, runner=asked) == again
    assert asked.commands[-1][1:] == ("mod", "download", "-json", pins.ISTIO)


def test_a_real_module_is_compiled_by_the_real_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only test that runs Go: flags, progress lines, file names and lookup are as FakeGo has them."""
    module = tmp_path / "gomod" / "tiny"
    (module / "hello").mkdir(parents=True)
    (module / "go.mod").write_text("module meshlab.invalid/tiny\n\ngo 1.26.0\n")
    (module / "hello" / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    tiny = Stage("tiny", "tiny", (Target("greeter", "./hello"),), root=tmp_path / "gomod")
    monkeypatch.setitem(STAGES, "tiny", tiny)
    machine = Machine.here().model_copy(update={"cache": tmp_path / "cache"})
    updates: list[Update] = []
    runner = SystemRunner()

    found = build.build(["tiny"], machine=machine, runner=runner, log_dir=tmp_path, progress=updates.append)
    said = subprocess.run([found["greeter"]], capture_output=True, text=True, check=True).stderr
    assert said == "hello\n"
    assert json.loads((found["greeter"].parent / build.MANIFEST).read_text())["stage"] == "tiny"
    assert updates[-1].percent == 100
    profile = compile_profile.read(tmp_path / "compile-tiny.profile.json")
    assert ("link", "meshlab.invalid/tiny/hello") in [(work.kind, work.package) for work in profile.works]
    assert profile.cpu("link") > 0
    assert profile.seconds > 0

    work = compiler.Compiler(tiny, runner, machine.path, tmp_path / "log", updates.append)
    assert work.missing() == {}, "everything is in Go's cache now"

    (module / "hello" / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    with pytest.raises(BuildError, match=r"main\.go:3:15: undefined: undefined"):
        build.build(["tiny"], machine=machine, runner=runner, log_dir=tmp_path)
