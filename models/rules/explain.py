"""The steps by which a rule came to its answer, kept with the decision so that it can be explained later (D8)."""

from collections.abc import Mapping
from typing import NamedTuple


class Step(NamedTuple):
    """One rule applied: its number, a sentence, and the figures it used (amounts in minor units) in reading order."""

    rule: str
    text: str
    figures: Mapping[str, int | str]

    def as_dict(self) -> dict[str, object]:
        """-> {"rule", "text", "figures": {name: figure}}, the form kept in the audit trail."""
        return {"rule": self.rule, "text": self.text, "figures": self.figures}


def step(rule: str, text: str, **figures: int | str) -> Step:
    """(rule number, sentence, figures by name) -> Step. Source: D8."""
    return Step(rule, text, figures)
