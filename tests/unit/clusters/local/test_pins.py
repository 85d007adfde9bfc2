"""The pins fit together, and the keys change with what they must and with nothing else."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from meshlab.clusters.local import pins
from meshlab.clusters.local.pins import STAGES, Stage, Target


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_every_target_comes_from_a_module_that_go_mod_pins_and_go_sum_verifies(stage: Stage) -> None:
    pinned = pins.requirements(stage.module)
    sums = (stage.directory / "go.sum").read_text()
    for target in stage.targets:
        if target.package.startswith("./"):
            assert (stage.directory / target.package / "main.go").exists()
            continue
        (module,) = [m for m in pinned if target.package == m or target.package.startswith(f"{m}/cmd/")] or [
            max((m for m in pinned if target.package.startswith(f"{m}/")), key=len)
        ]
        assert f"{module} {pinned[module]} h1:" in sums


def test_versions_are_read_from_the_pins() -> None:
    pinned = pins.versions()
    assert re.fullmatch(r"v1\.36\.\d+", pinned.kubernetes)
    assert re.fullmatch(r"1\.31\.0-dev", pinned.istio)
    assert re.fullmatch(r"[0-9a-f]{12}", pins.istio_of("mesh")[1])
    assert re.fullmatch(r"3\.\d+\.\d+", pinned.prometheus)
    assert re.fullmatch(r"\d+\.\d+\.\d+", pinned.jaeger)


def test_an_upgrade_begins_at_an_istio_of_another_minor() -> None:
    earlier, commit = pins.istio_of(STAGES[pins.EARLIER].module)
    _, today = pins.istio_of("mesh")
    assert earlier == "1.30.0-dev" and commit != today
    assert pins.requirements(STAGES[pins.EARLIER].module)[pins.ISTIO] < pins.requirements("mesh")[pins.ISTIO]
    flags = pins.ldflags(STAGES[pins.EARLIER])
    assert f"version.buildVersion={earlier} " in flags and f"buildGitRevision={commit} " in flags
    assert "gitVersion" not in flags, "only Kubernetes' own programs say so"


def test_kubernetes_libraries_are_those_of_the_kubernetes_that_is_pinned() -> None:
    text = (pins.GOMOD / "mesh" / "go.mod").read_text()
    replaced = dict(re.findall(r"^\s*(k8s\.io/\S+) => \1 (v\S+)$", text, re.MULTILINE))
    assert len(replaced) > 25
    assert set(replaced.values()) == {pins.versions().kubernetes.replace("v1.", "v0.")}


def test_prometheus_shares_the_compiled_libraries_of_the_mesh_module() -> None:
    mesh, prometheus = pins.requirements("mesh"), pins.requirements("prometheus")
    shared = (
        "k8s.io/api",
        "k8s.io/apimachinery",
        "k8s.io/client-go",
        "google.golang.org/grpc",
        "golang.org/x/net",
    )
    assert {name: prometheus[name] for name in shared} == {name: mesh[name] for name in shared}


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_what_stands_in_for_a_module_is_here_and_asks_for_no_other_version(stage: Stage) -> None:
    text = (stage.directory / "go.mod").read_text()
    pinned = pins.requirements(stage.module)
    for module, folder in re.findall(r"^replace (\S+) => (\./\S+)$", text, re.MULTILINE):
        own = (stage.directory / folder / "go.mod").read_text()
        assert module in pinned and own.startswith(f"module {module}\n")
        for needed, version in re.findall(r"^\s*(?:require )?(\S+\.\S+/\S+) (v\S+)", own, re.MULTILINE):
            assert pinned[needed] == version


def test_stamps_name_the_pins_and_no_time() -> None:
    flags = pins.ldflags(STAGES["cluster"])
    pinned = pins.versions()
    assert f"-X k8s.io/component-base/version.gitVersion={pinned.kubernetes}" in flags
    assert f"-X istio.io/istio/pkg/version.buildVersion={pinned.istio} " in flags
    assert "buildDate=1970-01-01T00:00:00Z" in flags
    assert flags == pins.ldflags(STAGES["cluster"])
    assert f"version.Version={pinned.prometheus}" in pins.ldflags(STAGES["prometheus"])
    assert f"latestVersion=v{pinned.jaeger}" in pins.ldflags(STAGES["jaeger"])


def test_the_go_that_is_needed_is_the_highest_of_the_modules() -> None:
    assert (1, 26) <= pins.go_needed()[:2] <= (1, 27)


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("go.etcd.io/etcd/server/v3", "server"),
        ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
        ("./coredns", "coredns"),
    ],
)
def test_go_names_a_binary_after_the_last_element_that_is_no_version(package: str, name: str) -> None:
    assert Target("x", package).go_name == name


def _copy(stage: Stage, root: Path) -> Stage:
    shutil.copytree(stage.directory, root / stage.module)
    return replace(stage, root=root)


def test_key_changes_with_the_pins_our_sources_and_the_flags_only(tmp_path: Path) -> None:
    stage = _copy(STAGES["cluster"], tmp_path)
    key = pins.pins_key(stage)
    assert re.fullmatch(r"[0-9a-f]{16}", key)
    assert key == pins.pins_key(STAGES["cluster"]), "the folder's place does not matter"
    assert key != pins.pins_key(replace(stage, tags=("other",)))
    assert key != pins.pins_key(replace(stage, targets=stage.targets[1:]))

    (stage.directory / "notes.txt").write_text("says nothing to the compiler")
    assert key == pins.pins_key(stage)
    seen = {key}
    for name in ("go.mod", "go.sum", "coredns/main.go"):
        with (stage.directory / name).open("a") as file:
            file.write("\n")
        seen.add(pins.pins_key(stage))
    assert len(seen) == 4


def test_a_change_of_jaegers_pins_leaves_the_other_keys_alone(tmp_path: Path) -> None:
    stages = {name: _copy(stage, tmp_path) for name, stage in STAGES.items()}
    before = {name: pins.pins_key(stage) for name, stage in stages.items()}
    with (stages["jaeger"].directory / "go.sum").open("a") as file:
        file.write("\n")
    after = {name: pins.pins_key(stage) for name, stage in stages.items()}
    assert {name for name in after if after[name] != before[name]} == {"jaeger"}
