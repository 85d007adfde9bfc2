"""What README and the pages name exists: commands, goals of make, files, settings, checks, flags, flows, deployments."""

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

from meshlab import __version__
from meshlab.checks.base import CHECKS
from meshlab.config.loader import keys
from meshlab.config.settings import LabConfig
from meshlab.config.settings import SettingsBase as SettingsSection

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deployments").rglob("*.md")],
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
# What is written as code: a fenced block, or words between backticks.
CODE = re.compile(r"^```\w*\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
MODULE = re.compile(r"python3? -m ([A-Za-z_][\w.]*)")
GOAL = re.compile(r"(?<![\w-])make ([a-z][a-z-]*)")
PATH = re.compile(r"(?<![\w/.@-])((?:meshlab|tasks|flows|tests|benchmarks|deployments)/[\w./*-]*[\w*])")
TEST = re.compile(r"(?<![\w/.-])(test_\w+)(?:\.py)?(?![\w.])")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
DOTTED = re.compile(r"(?<![\w./@-])([a-z_]+)\.([a-z][a-z0-9_-]*)(?![\w./(-])")
FLAG = re.compile(r"(?<![\w-])(--[a-z][a-z-]+)")
# Programs of ours: their flags are looked up. What stands on a line of another program is that one's.
OURS = re.compile(r"python3? -m (?:flows|meshlab|tests)\.|ARGS=|^\s*--")
FILES = ("md", "py", "json", "yaml", "yml", "html", "xml", "sqlite", "log", "txt", "io", "tar", "com")
WORDS_OF_OTHERS = ("rbac.authorization", "kubernetes.io", "istio.io")


@cache
def sections() -> set[str]:
    """The first words of settings and checks: what begins so is one of them, or wrong."""
    nested = [
        name
        for name, field in LabConfig.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, SettingsSection)
    ]
    return {*nested, *(each.partition(".")[0] for each in CHECKS)}


@cache
def goals() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@cache
def flags() -> set[str]:
    """Every flag that a command of ours takes: as the sources write it down."""
    sources = [
        path
        for folder in ("meshlab", "flows", "tests/fakes", "tests/bench")
        for path in (ROOT / folder).rglob("*.py")
    ]
    return {
        flag
        for path in sources
        for flag in re.findall(r'"(--[a-z][a-z-]+)"', path.read_text(encoding="utf-8"))
    }


@cache
def labels() -> set[str]:
    """Keys of labels and annotations of ours: they look like a path."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "meshlab").rglob("*.py")]
    return {key for text in sources for key in re.findall(r'"(meshlab/[a-z-]+)"', text)}


@cache
def names_of_tests() -> set[str]:
    """Names of test modules, and of the tests in them."""
    files = [*(ROOT / "tests").rglob("test_*.py")]
    sources = [path.read_text(encoding="utf-8") for path in files]
    return {path.stem for path in files} | {
        name for text in sources for name in re.findall(r"def (test_\w+)", text)
    }


def path_there(name: str) -> bool:
    """Whether a file or folder of this name, or of this pattern, is there."""
    return any(ROOT.glob(name)) or name in labels()


def code_of(text: str) -> list[str]:
    """The pieces of a page that are code, a fenced block line by line."""
    return [
        line for block, words in CODE.findall(text) for line in (block.splitlines() if block else [words])
    ]


def module_there(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()


def wrong(text: str, folder: Path = ROOT) -> list[str]:
    """What a page in `folder` names that does not exist."""
    found = []
    for line in code_of(text):
        ours = [
            name for name in MODULE.findall(line) if name.partition(".")[0] in ("flows", "meshlab", "tests")
        ]
        found += [f"python -m {name}" for name in ours if not module_there(name)]
        found += [path for path in PATH.findall(line) if not path_there(path)]
        found += [name for name in TEST.findall(line) if name not in names_of_tests()]
        found += [f"make {goal}" for goal in GOAL.findall(line) if goal not in goals()]
        for section, name in DOTTED.findall(line):
            word = f"{section}.{name}"
            known = (
                any(f"{key}.".startswith(f"{word}.") for key in keys())
                or word in CHECKS
                or name in FILES
                or word in WORDS_OF_OTHERS
            )
            if section in sections() and not known:
                found.append(word)
        if OURS.search(line):
            found += [flag for flag in FLAG.findall(line) if flag not in {"--help", *flags()}]
    links = [link for link in LINK.findall(text) if "://" not in link]
    return found + [link for link in links if not (folder / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    assert wrong(page.read_text(encoding="utf-8"), page.parent) == []


def test_the_rules_see_what_they_are_there_to_see() -> None:
    text = (
        "Run `python -m flows.nothing`, `make nothing`, set `gke.nothing=1`, see [it](docs/nothing.md), `mtls.nothing`,\n"
        "```sh\npython -m flows.full_lab --nothing   # a comment\nmake lab ARGS=--none\n```\n"
        "and `python -m flows.full_lab --keep`, `make lab`, `gke.nodes`, `mtls.refusal`, [that](docs/gke.md),\n"
        "`meshlab/nothing.py`, `tests/live/nothing_*.py`, `tasks/nothing/`, `test_nothing`, `test_nothing_2.py`,\n"
        "`meshlab/core/errors.py`, `meshlab/checks/live_*.py`, `tests/fakes/gke`, `meshlab/rotation`, `test_documents`,\n"
        "`test_helpers.go`, `test_the_rules_see_what_they_are_there_to_see`, `sigs.k8s.io/x/tests/nothing`."
    )
    assert wrong(text) == [
        "python -m flows.nothing", "make nothing", "gke.nothing", "mtls.nothing", "--nothing", "--none",
        "meshlab/nothing.py", "tests/live/nothing_*.py", "tasks/nothing", "test_nothing", "test_nothing_2", "docs/nothing.md",
    ]  # fmt: skip


def test_readme_names_every_flow_deployment_and_page() -> None:
    commands = {path.stem for path in (ROOT / "flows").glob("*.py") if "__main__" in path.read_text("utf-8")}
    deployments = {
        each["name"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    }
    assert {
        name for name in commands if not re.search(rf"python -m flows\.{name}\b|make {name}\b", README)
    } == set()
    assert {name for name in deployments if name not in README} == set()
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert {page for page in pages if f"]({page})" not in README} == set()


def test_readme_is_read_in_five_minutes() -> None:
    assert len(README.split()) < 1300  # 250 words a minute


def test_the_changelog_has_an_entry_for_this_version_one_line_a_change() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    versions = [line.split("]")[0].removeprefix("## [") for line in lines if line.startswith("## ")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert versions[:2] == ["Unreleased", project["version"]] and project["version"] == __version__
    assert [line for line in lines[4:] if line and not line.startswith(("- ", "## [", "### "))] == []


def test_the_catch_matrix_says_what_its_template_says() -> None:
    """The page is made from a run, which is seldom; the words around the matrix follow at once."""
    template = ROOT / "meshlab" / "report" / "templates" / "sabotage.md"
    page = (ROOT / "docs" / "sabotage.md").read_text(encoding="utf-8").splitlines()
    always = re.sub(
        r"^{% if .*?^{% endif %}", "", template.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    words = [line for line in always.splitlines() if not set("{}") & set(line)]
    assert len(words) > 20 and [line for line in words if line not in page] == []
