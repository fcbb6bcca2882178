"""
Regular expressions that every Python matches alike.

Before Python 3.11.5, and so in Debian 12, a possessive quantifier behind a group does not go back after its last round
has failed in the middle (CPython gh-106052): octets were lost. Behind a set or a character it is right.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]

_POSSESSIVE_GROUP = re.compile(r"(?<!\\)\)(?:[*+?]|\{[0-9,]*\})\+")


def faults(source: str) -> Iterator[int]:
    """The lines of the constants in which a group is possessive."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            if _POSSESSIVE_GROUP.search(text):
                yield node.lineno


class ExpressionTests(SynchronousTestCase):
    """All of the package."""

    def test_noPossessiveGroups(self) -> None:
        """None is there; a place that has one is named."""
        found = [f"{path}:{line}" for path in ROOT.glob("epost/**/*.py") for line in faults(path.read_text("utf-8"))]
        self.assertEqual(found, [])

    def test_finds(self) -> None:
        """What is looked for is found, and what is no group is not."""
        self.assertEqual(sorted(faults('a = 1\nre.compile(rb"(?:a|b)*+")\nx = "(a){2,3}+"')), [2, 3])
        self.assertEqual(list(faults('re.compile(r"[ab]*+\\)++(?:a|b)* +")')), [])
