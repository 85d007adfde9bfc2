"""The house's rules, held by reading the source: who may import whom, and where the outside world begins."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path for name in ("meshlab", "tasks", "flows") for path in (ROOT / name).rglob("*.py"))
# Programs that run inside images of ours: they are no part of the process that runs the lab.
WORKLOADS = "meshlab/clusters/local/workloads/"
# Package → the packages it may import, from the ground up. A new arrow is a decision: docs/architecture.md draws it.
MAY_IMPORT = {
    "core": "",
    "manifests": "",
    "config": "core",
    "run": "core config",
    "kube": "core run",
    "clusters": "core config run kube",
    "envoy": "core kube",
    "istio": "core manifests config run kube clusters envoy",
    "causes": "core kube",
    "shared_cluster": "core manifests config run kube clusters istio",
    "app": "core manifests config run kube istio",
    "security": "core manifests config run kube clusters envoy istio app",
    "report": "core run kube security",
    "observability": "core manifests config run kube istio app report",
    "history": "core causes config run report",
    "checks": "core config run kube envoy istio shared_cluster app security report observability",
    "faults": "core manifests config run kube clusters istio app security report observability",
    "lifecycle": "core config run kube clusters istio shared_cluster app observability checks",
    "cli": "core config run kube clusters istio shared_cluster app report history checks lifecycle",
    "tasks": "core config run kube clusters istio causes shared_cluster app security report observability history"
    " checks faults lifecycle cli",
    "flows": "core config run clusters istio faults cli tasks",
}
# Libraries that a layer leaves to the one below it.
FOREIGN = {
    "meshlab": {"prefect"},
    "flows": {"subprocess", "kubernetes", "requests", "urllib", "urllib3", "http", "socket", "yaml"},
}
STARTS_PROCESSES = {"os": {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp"}}
READS_ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}
SLEEPS = {
    "meshlab/core/waiting.py",  # the one wait loop's clock
    "meshlab/clusters/local/child.py",  # a thread that watches its parent for as long as both live
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a module's tree; several rules read it."""
    return tuple(ast.walk(tree(path)))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each import, those inside functions included; siblings (`from .x`) aside."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level != 1:
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: this import hides its layer"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def uses(path: Path, module: str) -> Iterator[tuple[ast.AST, str]]:
    """Each use of `module.name`, under whatever name it was imported, and each `from module import name`."""
    aliases = [alias for node in nodes(path) if isinstance(node, ast.Import) for alias in node.names]
    bound = {alias.asname or alias.name for alias in aliases if alias.name == module}
    for node in nodes(path):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound:
            yield node, node.attr
        elif isinstance(node, ast.ImportFrom) and node.module == module:
            yield from ((node, alias.name) for alias in node.names)


def package_of(dotted: str) -> str:
    """The room of a module: a package of meshlab, tasks or flows."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "meshlab" and len(parts) > 1 else parts[0]


def forbidden(room: str, dotted: str) -> bool:
    """Whether a module of a room may not import this name."""
    top = dotted.split(".")[0]
    if top in FOREIGN.get(room if room in ("tasks", "flows") else "meshlab", ()):
        return True
    return top in ("meshlab", "tasks", "flows") and package_of(dotted) not in (
        room,
        *MAY_IMPORT[room].split(),
    )


def test_each_package_imports_only_what_the_table_allows() -> None:
    wrong = [
        f"{name_of(path)}:{line}: {name}"
        for path in MODULES
        if name_of(path) != "meshlab/__init__.py"
        for line, name in imports(path)
        if forbidden(package_of(name_of(path).removesuffix(".py").replace("/", ".")), name)
    ]
    assert wrong == []


def test_the_table_has_no_circle_and_no_arrow_that_nobody_uses() -> None:
    rooms = list(MAY_IMPORT)
    for room, allowed in MAY_IMPORT.items():
        assert all(rooms.index(each) < rooms.index(room) for each in allowed.split()), room
    used = {
        (package_of(name_of(path).removesuffix(".py").replace("/", ".")), package_of(name))
        for path in MODULES
        for _, name in imports(path)
    }
    unused = [
        f"{room} → {each}" for room in rooms for each in MAY_IMPORT[room].split() if (room, each) not in used
    ]
    assert unused == []


def floors(table: dict[str, str]) -> int:
    """How many packages stand on each other at most."""
    level: dict[str, int] = {}
    for room, allowed in table.items():  # from the ground up
        level[room] = 1 + max((level[each] for each in allowed.split()), default=0)
    return max(level.values())


def test_the_house_has_sixteen_floors_at_most() -> None:
    assert floors(MAY_IMPORT) <= 16
    assert floors({"a": "", "b": "a", "c": "a", "d": "a b"}) == 3, "the control"


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, in its order; empty without one."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as problem:
        return list(problem.args[1])
    return []


def test_no_module_imports_its_importer() -> None:
    names = {
        name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in MODULES
    }
    arrows = {
        each: {
            found
            for _, dotted in imports(ROOT / path)
            for found in (dotted, dotted.rpartition(".")[0])
            if found in names and found != each
        }
        for each, path in ((p.removesuffix(".py").replace("/", "."), p) for p in map(name_of, MODULES))
    }
    assert circle(arrows) == []
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}, "the control"


def test_meshlab_is_packages_only() -> None:
    loose = [path.name for path in (ROOT / "meshlab").iterdir() if path.suffix == ".py"]
    assert loose == ["__init__.py"]
    rooms = {path.name for path in (ROOT / "meshlab").iterdir() if (path / "__init__.py").exists()}
    assert {*rooms, "tasks", "flows"} == set(MAY_IMPORT) and len(MAY_IMPORT) <= 22


def test_a_forbidden_import_is_found() -> None:
    """The control."""
    assert forbidden("core", "meshlab.kube.client") and forbidden("kube", "meshlab.checks.base.failed")
    assert (
        forbidden("report", "tasks.run") and forbidden("cli", "prefect.flow") and forbidden("flows", "yaml")
    )
    assert not forbidden("kube", "meshlab.core.errors") and not forbidden("tasks", "prefect.flow")


def test_processes_start_in_one_place() -> None:
    wrong = []
    for path in MODULES:
        if name_of(path) == "meshlab/core/process.py" or name_of(path).startswith(WORKLOADS):
            continue
        calls: set[ast.AST] = {node.func for node in nodes(path) if isinstance(node, ast.Call)}
        # Types and exceptions of subprocess may be named elsewhere; nothing of it may be called.
        started: list[ast.AST] = [
            node for node, _ in uses(path, "subprocess") if node in calls or isinstance(node, ast.ImportFrom)
        ]
        started += [
            node
            for module, names in STARTS_PROCESSES.items()
            for node, name in uses(path, module)
            if name in names or name.startswith(("exec", "spawn"))
        ]
        wrong += [f"{name_of(path)}:{getattr(node, 'lineno', '?')}" for node in started]
        wrong += [
            f"{name_of(path)}:{line}: {name}"
            for line, name in imports(path)
            if name in ("pty", "pexpect", "sh")
        ]
    assert wrong == []


def test_the_environment_is_read_in_one_place() -> None:
    # process.py hands it on to children, as it is.
    may = {"meshlab/config/settings.py", "meshlab/core/process.py", "meshlab/core/environment.py"}
    wrong = [
        f"{name_of(path)}: os.{name}"
        for path in MODULES
        if name_of(path) not in may and not name_of(path).startswith(WORKLOADS)
        for _, name in uses(path, "os")
        if name in READS_ENVIRONMENT
    ]
    assert wrong == []


ENTRY_POINTS = {
    "meshlab/cli/main.py",
    "meshlab/cli/history.py",
    "meshlab/cli/dashboards.py",
    "meshlab/clusters/local/__main__.py",
    "meshlab/clusters/local/child.py",  # a process of its own
    "meshlab/clusters/local/toolchain.py",  # `make setup`
    "meshlab/lifecycle/context.py",  # a REPL
    "tasks/run.py",  # a flow that a worker started
    "meshlab/clusters/local/compile_profile.py",
}


def test_the_machine_is_looked_at_where_a_process_begins() -> None:
    asked = {
        name_of(path)
        for path in MODULES
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "Machine.here"
    }
    assert asked == ENTRY_POINTS


def joined_with_port(path: Path) -> Iterator[str]:
    """F-strings that put a port behind a host."""
    for node in nodes(path):
        if isinstance(node, ast.JoinedStr):
            for first, second in pairwise(node.values):
                before = ast.unparse(first)[1:-1] if isinstance(first, ast.Constant) else ""
                is_port = (
                    isinstance(second, ast.FormattedValue) and "port" in ast.unparse(second.value).lower()
                )
                if is_port and before.endswith(":") and (before != ":" or first is not node.values[0]):
                    yield ast.unparse(node)


def test_an_address_is_built_in_one_place() -> None:
    # Programs of pods import nothing of ours.
    wrong = [
        f"{name_of(path)}: {text}"
        for path in MODULES
        if name_of(path) != "meshlab/core/address.py" and not name_of(path).startswith(WORKLOADS)
        for text in joined_with_port(path)
    ]
    assert wrong == []


def test_nothing_sleeps_but_the_wait_loop() -> None:
    wrong = [
        name_of(path)
        for path in MODULES
        if name_of(path) not in SLEEPS and not name_of(path).startswith(WORKLOADS)
        for _, name in uses(path, "time")
        if name == "sleep"
    ]
    assert wrong == []


def test_errors_are_defined_in_one_place() -> None:
    wrong = [
        f"{name_of(path)}: {node.name}"
        for path in MODULES
        if name_of(path) != "meshlab/core/errors.py"
        for node in nodes(path)
        if isinstance(node, ast.ClassDef)
        and any(
            ast.unparse(base).endswith(("Error", "Exception", "Interrupt", "Interrupted"))
            for base in node.bases
        )
    ]
    assert wrong == []


def test_modules_stay_small_and_have_names() -> None:
    sizes = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: size for name, size in sizes.items() if size > 400} == {}
    assert [name for name in sizes if Path(name).stem in ("utils", "util", "helpers", "misc")] == []


def test_the_rules_see_what_they_are_there_to_see(tmp_path: Path) -> None:
    """The control: each way to break a rule is found where it is made."""
    path = tmp_path / "bad.py"
    path.write_text(
        "import os, subprocess as sp\nimport prefect.x\nfrom tasks import run\nfrom os import environ\n"
        "def f():\n    from flows.full_lab import full_lab\n    sp.run(['x'])\n    os.execv('a', [])\n"
        "    return f'http://{ip}:{PORT}/', f'svc:{x.port}', f':{port}', f'{import_}'\n"
    )
    layers = {name.split(".")[0] for _, name in imports(path)}
    assert layers == {"os", "subprocess", "prefect", "tasks", "flows"}
    assert {name for _, name in uses(path, "os")} == {"environ", "execv"}
    assert {name for _, name in uses(path, "subprocess")} == {"run"}
    assert [*joined_with_port(path)] == ["f'http://{ip}:{PORT}/'", "f'svc:{x.port}'"]
    assert len(MODULES) > 50
