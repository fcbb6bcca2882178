"""
A mistake in a file that an operator wrote, as a value.

Faults are collected, not raised one by one: whoever looks after the mail is told all of them at once, each in one line
that names the file, the line, what is wrong and what was expected.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """
    One mistake.

    @ivar file: its name, as it was given or configured.
    @ivar line: from 1; where a thing is missing, the line that should hold or lead to it.
    @ivar why: what is wrong.
    @ivar expected: what would be right; empty in a warning that needs no more words.
    """

    file: str
    line: int
    why: str
    expected: str = ""

    def __str__(self) -> str:
        """C{effect.dat:2: what is wrong, expected what would be right}."""
        return f"{self.file}:{self.line}: {self.why}" + (f", expected {self.expected}" if self.expected else "")
