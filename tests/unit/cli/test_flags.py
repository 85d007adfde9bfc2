from pathlib import Path

import pytest

from meshlab.cli.flags import Flag, Words, flags_elsewhere, judge, parse
from meshlab.config.loader import FLAGS, keys
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import InputError


def words(*arguments: str) -> Words:
    return parse(arguments, "lab", "The lab.")


def wrong(*arguments: str) -> list[tuple[str, str]]:
    return [(problem.where, problem.what) for problem in words(*arguments).problems]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.here({"HOME": str(tmp_path)})


def test_flags_are_text_until_they_are_judged() -> None:
    given = words(
        "--cluster=mars", "--nodes", "x", "--keep", "--set", "a.b=1", "--set", "c=2", "--config", "f.yaml"
    )
    assert given == Words(
        {"cluster": "mars", "local.nodes": "x", "keep": "true"}, ["a.b=1", "c=2"], Path("f.yaml")
    )


def test_three_mistakes_at_once_are_all_named_and_nothing_is_written(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = words("--cluster", "mars", "--config", "/nonexistent", "--runs-dir", "/proc/nope")
    with pytest.raises(InputError) as caught:
        judge(given, machine)
    assert caught.value.message == (
        "3 problems, nothing was started:\n"
        "  - --config /nonexistent: can't be read: No such file or directory\n"
        "    remedy: name a readable YAML file\n"
        "  - --cluster: unknown value 'mars'\n"
        "    remedy: one of: 'local', 'existing' or 'gke'\n"
        "  - --runs-dir /proc/nope: can't be written: No such file or directory\n"
        "    remedy: name a folder that you may write to"
    )
    assert list(tmp_path.iterdir()) == []


def test_problems_of_the_command_line_stand_beside_those_of_settings_and_machine(
    machine: Machine, tmp_path: Path
) -> None:
    config = tmp_path / "lab.yaml"
    config.write_text("local: {nodes: 77}\n")
    given = words(
        "--frobnicate", "--cluster", "existing", "--config", str(config), "--kubeconfig", "/none", "--zone"
    )
    with pytest.raises(InputError) as caught:
        judge(given, machine)
    places = [problem.where for problem in caught.value.problems]
    assert places[:3] == ["--zone", "--frobnicate", f"local.nodes in {config}"]
    assert "--kubeconfig" in places
    assert all(problem.remedy for problem in caught.value.problems)


def test_a_good_command_line_is_a_configuration(machine: Machine, tmp_path: Path) -> None:
    given = words(
        "--runs-dir", str(tmp_path / "deep" / "runs"), "--nodes", "1", "--set", "traffic.fast_seconds=9"
    )
    config = judge(given, machine, need_cluster=False)
    assert isinstance(config, LabConfig)
    assert (config.local.nodes, config.traffic.fast_seconds) == (1, 9)
    assert list(tmp_path.iterdir()) == []  # judging writes nothing


def test_variables_are_judged_too(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHLAB_LOCAL__NODES", "9")
    with pytest.raises(
        InputError, match="MESHLAB_LOCAL__NODES: input should be less than or equal to 5, not '9'"
    ):
        judge(words(), machine, need_cluster=False)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--runs-dir"], [("--runs-dir", "needs a value")]),
        (["--runs-dir", "--keep"], [("--runs-dir", "needs a value")]),
        (
            ["--zone", "a", "--zone", "--project"],
            [("--zone", "needs a value"), ("--project", "needs a value")],
        ),
        (["--keep=5", "--keep-on-failure"], [("--keep", "takes no value")]),
        (["--keep-on-failure=5", "--keep"], [("--keep-on-failure", "takes no value")]),
        (["--cluser", "local"], [("--cluser", "is no flag"), ("local", "belongs to no flag")]),
        (["--kee"], [("--kee", "is no flag")]),
        (["full"], [("full", "belongs to no flag")]),
        (["-x", "--config"], [("--config", "needs a value"), ("-x", "is no flag")]),
    ],
)
def test_every_mistake_of_the_command_line_is_named(
    arguments: list[str], named: list[tuple[str, str]]
) -> None:
    assert wrong(*arguments) == named


def test_what_is_right_beside_a_mistake_is_kept() -> None:
    given = words("--cluster", "gke", "--zone", "--keep", "--nodes=2", "--runs-dir")
    assert given.flags == {"cluster": "gke", "keep": "true", "local.nodes": "2"}


def test_an_unknown_flag_comes_with_the_ones_that_look_like_it() -> None:
    [problem] = words("--cluser=local").problems
    assert problem.remedy.startswith("did you mean --cluster")


def test_help_names_every_setting_every_flag_the_order_and_the_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        words("--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    missing = [name for name in (*keys(), *keys().values(), *FLAGS.values()) if name not in text]
    # argparse breaks the lines of flags' help; each description stands whole in the list of settings.
    assert missing == []
    assert "flags win over --set, --set over variables, variables over the file" in text
    assert all(f"{code} " in text for code in (0, 1, 2, 3, 4, 130, 143))


ONLY = Flag("--only", "only", "fault", "Plant this fault alone.", ("a", "b"), many=True)


def test_a_flows_own_choice_may_be_given_several_times() -> None:
    given = parse(["--only", "b", "--only=a", "--only", "b"], "lab", "The lab.", [ONLY])
    assert given.own == {"only": ("b", "a")}
    assert given.problems == []
    assert parse([], "lab", "The lab.", [ONLY]).own == {"only": ()}


def test_a_choice_that_does_not_exist_is_named_with_the_other_problems(machine: Machine) -> None:
    given = parse(["--only", "c", "--cluster", "mars"], "lab", "The lab.", [ONLY])
    with pytest.raises(InputError) as caught:
        judge(given, machine)
    assert caught.value.message.startswith("2 problems, nothing was started:\n")
    assert "--only c: is no fault\n    remedy: one of: a, b" in caught.value.message


@pytest.mark.parametrize(
    ("given", "where", "what", "remedy"),
    [
        (
            ("--cluster", "gke", "--project", "p", "--nodes", "1"),
            "--nodes",
            "goes with --cluster local, this is gke",
            "--set gke.nodes=…",
        ),
        (
            ("--context", "prod"),
            "--context",
            "goes with --cluster existing, this is local",
            "leave it out, or add --cluster existing",
        ),
    ],
)
def test_a_flag_of_another_provider_is_named_not_passed_over(
    given: tuple[str, ...], where: str, what: str, remedy: str
) -> None:
    asked = words(*given)
    [problem] = flags_elsewhere(asked.flags, asked.flags.get("cluster", "local"))
    assert (problem.where, problem.what, problem.remedy) == (where, what, remedy)
    assert flags_elsewhere(words("--nodes", "1", "--keep").flags, "local") == []


def test_other_spellings_of_a_flow_s_own_flag_are_it_too_and_are_compared_with_typing_errors() -> None:
    yes = Flag("--yes", "yes", "", "Remove it.", also="--delete")
    assert parse(["--delete"], "lab", "The lab.", [yes]).own == {"yes": True}
    assert parse([], "lab", "The lab.", [yes]).own == {"yes": False}
    misused, unknown = parse(["--yes=1", "--delte"], "lab", "The lab.", [yes]).problems
    assert (misused.where, misused.what) == ("--yes/--delete", "takes no value")
    assert (unknown.where, "--delete" in unknown.remedy) == ("--delte", True)
