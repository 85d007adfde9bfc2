"""What a flow's command takes, and what its command line asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meshlab.cli.flags import Again, Flag
from meshlab.config.settings import LabConfig, Machine, Provider
from meshlab.core.errors import Problem

if TYPE_CHECKING:
    from meshlab.clusters.base import ClusterRef
    from meshlab.run.journal import RunRef

# Reads a command line: the configuration, and the flow's own parameters. Raises InputError.
Decide = Callable[[list[str], Machine], tuple[LabConfig, Mapping[str, Any]]]
# What a flow finds wrong with settings that are good for others, and with its own parameters.
Judge = Callable[[LabConfig, Mapping[str, Any]], list[Problem]]


@dataclass(frozen=True)
class Command:
    """A flow's command.

    program: what the help calls it. about: the help's description. flow: its name. own: flags of its own; it gets them
    as parameters. providers: those that it runs on, its default first; empty for all. decide: reads the command line of
    a flow that needs no cluster, and gives its parameters. resumable: it takes --resume and --from. plannable: it takes
    --plan. judge: finds further problems.
    """

    program: str
    about: str
    flow: str = "full-lab"
    own: Sequence[Flag] = ()
    providers: Sequence[Provider] = ()
    decide: Decide | None = None
    resumable: bool = False
    plannable: bool = False
    judge: Judge | None = None


@dataclass(frozen=True)
class Asked:
    """What a command line asks for. chosen: the flow's own parameters. again: which run goes on; run, cluster: its own."""

    config: LabConfig
    machine: Machine
    chosen: Mapping[str, Any] = field(default_factory=dict)
    again: Again | None = None
    run: RunRef | None = None
    cluster: ClusterRef | None = None
