"""
What C{epost doctor} finds, as values: each is one line, and says how to mend what is wrong.

A remark is nothing wrong: something that could not be looked at, or that may surprise. What cannot be looked at is said
and never passed over.
"""

import enum
from dataclasses import dataclass, field


class State(enum.Enum):
    """What a finding is. Only L{WRONG} makes the command end with 1."""

    OK = "ok"
    REMARK = "remark"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One line.

    @ivar state: whether it is right.
    @ivar about: C{ports}, C{folders}, C{disk}, C{clock}, C{certificate}, C{names}, C{pair}, C{relay}, C{tables}.
    @ivar half: C{backend}, C{gateway} or, of what is between the two, C{pair}.
    @ivar text: what was seen.
    @ivar mend: what to do; empty where there is nothing to do.
    """

    state: State
    about: str
    half: str
    text: str
    mend: str = ""

    def __str__(self) -> str:
        """The line, and under it how to mend it."""
        line = f"{self.state.value:8}{self.half:9}{self.about:13}{self.text}"
        return f"{line}\n{'':30}to mend: {self.mend}" if self.mend else line

    def asDict(self) -> dict[str, str]:
        """For C{--json}."""
        return {
            "state": self.state.value,
            "about": self.about,
            "half": self.half,
            "text": self.text,
            "mend": self.mend,
        }


@dataclass(slots=True)
class Findings:
    """
    What one look at one thing finds, in order.

    @ivar about: see L{Finding}.
    @ivar half: see L{Finding}.
    """

    about: str
    half: str
    all: list[Finding] = field(default_factory=list)

    def ok(self, text: str) -> None:
        """It is right."""
        self.all.append(Finding(State.OK, self.about, self.half, text))

    def remark(self, text: str, mend: str = "") -> None:
        """It may surprise, or could not be looked at."""
        self.all.append(Finding(State.REMARK, self.about, self.half, text, mend))

    def wrong(self, text: str, mend: str) -> None:
        """It is wrong."""
        self.all.append(Finding(State.WRONG, self.about, self.half, text, mend))
