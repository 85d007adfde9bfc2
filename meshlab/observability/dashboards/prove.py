"""Prove that a query is empty for the reason that the list gives.

One query must find nothing, and a control must find something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshlab.observability.dashboards.expected import Precondition
from meshlab.observability.dashboards.sources import Source
from meshlab.observability.dashboards.templating import Value, interpolate


@dataclass(frozen=True)
class Proof:
    """absent, control: the queries as they were asked. found, controls: series of the two."""

    precondition: str
    absent: str
    found: int
    control: str
    controls: int

    @property
    def holds(self) -> bool:
        """Whether the reason holds and the control shows that this means something."""
        return self.found == 0 and self.controls > 0

    @property
    def text(self) -> str:
        """What was seen."""
        if self.found:
            return (
                f"the precondition {self.precondition} does not hold: {self.absent} finds {self.found} series"
            )
        if not self.controls:
            return f"the precondition {self.precondition} is not proven: {self.control} finds nothing, either"
        return f"{self.absent} finds nothing, {self.control} finds {self.controls} series"


class Prover:
    """Asks for each precondition once. Raises QueryError when the source can't be asked."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._known: dict[tuple[str, str], Proof] = {}

    def prove(self, precondition: Precondition, values: Mapping[str, Value]) -> Proof:
        """Prove a precondition with a dashboard's variables.

        Args:
            precondition: What must hold.
            values: Variable → value.

        Returns:
            The proof.
        """
        absent = interpolate(precondition.absent, values)
        control = interpolate(precondition.control, values)
        if (absent, control) not in self._known:
            self._known[absent, control] = Proof(
                precondition.name,
                absent,
                len(self._source.vector(absent)),
                control,
                len(self._source.vector(control)),
            )
        return self._known[absent, control]
