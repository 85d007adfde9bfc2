"""The flows' command line: flags as text, judged by the settings model together with the machine's."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.text import Text

from meshlab.config.loader import FLAGS, closest, keys, load
from meshlab.config.settings import LabConfig, Machine, Provider
from meshlab.core.errors import InputError, Problem

PROVIDERS = get_args(Provider)
SWITCHES = ("keep", "serve", "keep_on_failure", "allow_changes")


@dataclass(frozen=True)
class Flag:
    """A flag that one command has beside the shared ones.

    flag: as it is typed; also: its other spelling, if any. name: of the value, such as the flow's parameter. what: the
    value, in a word; empty for a switch. values: those that exist, empty for any. many: it may be given several times.
    """

    flag: str
    name: str
    what: str
    help: str
    values: Sequence[str] = ()
    many: bool = False
    also: str = ""

    @property
    def spellings(self) -> list[str]:
        """All ways to type it."""
        return [self.flag, self.also] if self.also else [self.flag]

    def add(self, to: argparse.ArgumentParser) -> None:
        """Teach it to a parser."""
        kind: dict[str, Any] = {"action": "store_true"}
        if self.what:
            kind = {"metavar": self.what.upper()} | ({"action": "append", "default": []} if self.many else {})
        told = f"{self.help} One of: {', '.join(self.values)}." if self.values else self.help
        to.add_argument(*self.spellings, dest=self.name, help=told, **kind)

    def problems(self, values: Sequence[str]) -> list[Problem]:
        """Those of the values that don't exist."""
        return [
            Problem(f"{self.flag} {value}", f"is no {self.what}", f"one of: {', '.join(self.values)}")
            for value in values
            if self.values and value not in self.values
        ]


@dataclass
class Words:
    """A command line, taken apart, not judged: dotted settings as text, --set words, what made no sense.

    own: name of a command's own flag → its value; of one that may be repeated, the values in their order, each once.
    """

    flags: dict[str, Any] = field(default_factory=dict)
    sets: list[str] = field(default_factory=list)
    config: Path | None = None
    problems: list[Problem] = field(default_factory=list)
    own: dict[str, Any] = field(default_factory=dict)


def _parser(program: str, description: str, own: Sequence[Flag]) -> argparse.ArgumentParser:
    """The shared flags and a command's own. Values stay text: their types and choices are the settings model's."""
    shown = argparse.ArgumentParser(
        prog=program, description=description, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_settings_help(), allow_abbrev=False, exit_on_error=False,
    )  # fmt: skip
    described = keys()
    for key, flag in FLAGS.items():
        if key in SWITCHES:
            shown.add_argument(flag, dest=key, action="store_const", const="true", help=described[key])
        else:
            shown.add_argument(flag, dest=key, metavar=_metavar(key), help=described[key])
    shown.add_argument("--config", metavar="FILE", help="YAML file of settings, sections nested.")
    shown.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="Any setting of the list below."
    )
    for each in own:
        each.add(shown)
    return shown


def parse(arguments: Sequence[str], program: str, about: str, own: Sequence[Flag] = ()) -> Words:
    """Take the command line apart.

    Unknown flags, missing values and values that don't exist become problems; `--help` prints and exits 0.

    Args:
        arguments: The command line, without the program.
        program: What the help calls the command.
        about: The help's description.
        own: The command's own flags.

    Returns:
        The words, not judged yet.
    """
    words, shown = Words(), _parser(program, about, own)
    rest = list(arguments)
    while True:
        try:
            known, unknown = shown.parse_known_args(rest)
            break
        except argparse.ArgumentError as wrong:
            # A flag without its value, or a switch with one: leave it out, and look for the other problems.
            spellings = (wrong.argument_name or "").split("/")
            at = next((at for flag in spellings if (at := _misused(rest, flag)) is not None), None)
            what = wrong.message if at is None else "takes no value" if "=" in rest[at] else "needs a value"
            words.problems.append(Problem(wrong.argument_name or "command line", what, "see --help"))
            if at is None:
                return words
            del rest[at]
    known_flags = [*FLAGS.values(), *(each for flag in own for each in flag.spellings)]
    for word in unknown:
        is_flag = word.startswith("-")
        near = closest(word.partition("=")[0], known_flags) if is_flag else "see --help"
        words.problems.append(Problem(word, "is no flag" if is_flag else "belongs to no flag", near))
    values = vars(known)
    words.sets = values.pop("set")
    config = values.pop("config")
    words.config = Path(config) if config else None
    words.flags = {key: value for key, value in values.items() if key in FLAGS and value is not None}
    for flag in own:
        value = values[flag.name]
        words.own[flag.name] = tuple(dict.fromkeys(value)) if flag.many else value
        words.problems += flag.problems(words.own[flag.name] if flag.many else ())
    return words


def _misused(arguments: Sequence[str], flag: str) -> int | None:
    """Where `flag` stands with a value that it does not take, or without one that it needs."""
    for at, word in enumerate(arguments):
        following = arguments[at + 1] if at + 1 < len(arguments) else "--"
        if word.startswith(f"{flag}=") or (word == flag and following.startswith("-")):
            return at
    return None


def judge(
    words: Words,
    machine: Machine,
    *,
    need_cluster: bool = True,
    providers: Sequence[Provider] = (),
    kept: Mapping[str, Any] | None = None,
) -> LabConfig:
    """Judge the command line together with files, variables and the machine.

    Touches nothing.

    Args:
        words: The command line, taken apart.
        machine: This machine: its folders and what it has.
        need_cluster: The flow works on a cluster, which is judged, too.
        providers: Those that a flow can run on, its own default first; empty for all.
        kept: What a run that goes on was asked for; what is given now wins.

    Returns:
        The settings.

    Raises:
        InputError: Something is wrong; it names every problem.
    """
    from meshlab.cli.preflight import preflight

    defaults = {**({"cluster": providers[0]} if providers else {}), **(kept or {})}
    loaded = load(words.flags, words.sets, words.config, defaults=defaults)
    problems = [*words.problems, *loaded.problems]
    if providers and loaded.config.cluster not in providers:
        problems.append(wrong_provider(loaded.config, providers))
    if need_cluster and "cluster" not in loaded.spoiled:
        problems += flags_elsewhere(words.flags, loaded.config.cluster)
    problems += preflight(loaded.config, machine, spoiled=loaded.spoiled, need_cluster=need_cluster)
    if problems:
        raise InputError(problems)
    return loaded.config


def read_settings(words: Words) -> LabConfig:
    """Read what the command line, files and variables say, to know where the runs are.

    The machine is not asked: a run that goes on is judged with what it was asked for, not with defaults.

    Raises:
        InputError: A setting is wrong; it names each.
    """
    loaded = load(words.flags, words.sets, words.config)
    if problems := [*words.problems, *loaded.problems]:
        raise InputError(problems)
    return loaded.config


def wrong_provider(config: LabConfig, providers: Sequence[Provider]) -> Problem:
    """Say that a flow can't run on a provider.

    Args:
        config: The settings of the run.
        providers: Those that it runs on.

    Returns:
        The problem, with what to use instead.
    """
    return Problem(
        f"--cluster {config.cluster}",
        "this flow makes no cluster: it looks at one that exists",
        f"use --cluster {' or '.join(providers)}, with --context or --kubeconfig",
    )


def flags_elsewhere(flags: Iterable[str], cluster: Provider) -> list[Problem]:
    """Flags that say something of another provider's clusters: taken without a word, they would promise what nobody does."""
    found = []
    for key in flags:
        section, _, name = key.partition(".")
        if key in FLAGS and section in PROVIDERS and section != cluster:
            here = f"{cluster}.{name}"
            remedy = f"--set {here}=…" if here in keys() else f"leave it out, or add --cluster {section}"
            found.append(Problem(FLAGS[key], f"goes with --cluster {section}, this is {cluster}", remedy))
    return found


@dataclass(frozen=True)
class Again:
    """What the command line asks for. step: nothing of this step and of those after it is trusted."""

    run_id: str
    step: str | None = None


RESUME = (
    Flag("--resume", "resume", "run_id", "Go on with a run that was cut off, on the cluster that it left."),
    Flag("--from", "step", "step", "With --resume: run this step and those after it again."),
)
PLAN = (
    Flag(
        "--plan", "plan", "", "With --cluster gke: show what would be sent to Google and its cost, and end."
    ),
)


def take_again(words: Words) -> Again | None:
    """Take what is to go on out of a command line. A --from without a run becomes a problem of it."""
    run_id, first = words.own.pop("resume", None), words.own.pop("step", None)
    if run_id is not None:
        return Again(run_id, first)
    if first is not None:
        words.problems.append(Problem("--from", "needs --resume RUN_ID", "name the run that is to go on"))
    return None


def complain(program: str, problem: object) -> None:
    """Say on standard error what a command could not do."""
    Console(stderr=True).print(Text(f"{program}: {problem}"), soft_wrap=True)


def _metavar(key: str) -> str:
    known = {
        "cluster": "local|existing|gke",
        "runs_dir": "DIR",
        "existing.context": "NAME",
        "gke.project": "ID",
    }
    return known.get(key) or key.rsplit(".", 1)[-1].upper()


def _settings_help() -> str:
    return "\n".join(
        [
            "every setting, as --set KEY=VALUE, as a key of the --config file (nested), or as a variable",
            "",
            *(f"  {key:28} {text}" for key, text in keys().items()),
            "",
            "a variable is MESHLAB_ and the key in capitals, dots as two underscores: MESHLAB_LOCAL__NODES=1",
            "flags win over --set, --set over variables, variables over the file, the file over the defaults",
            "",
            "exit codes: 0 all checks passed, 1 a check failed, 2 bad input, 3 a check or step could not be",
            "            made, 4 a check's own control did not trip, 130 and 143 after SIGINT and SIGTERM;",
            "            of 1, 4 and 3 the first that holds",
        ]
    )
