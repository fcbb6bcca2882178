"""
What was found out by the tables in force, for as long as they are: the same people write to the same people.

What is kept is what was found, by the very text that was asked about, so that nobody gets an answer for another
spelling. A stranger can ask about as many as he likes: where there are too many all are forgotten.
"""

from collections.abc import Callable
from typing import Concatenate, Generic, ParamSpec, TypeVar

from epost.tables.directory import Directory

MOST = 4096

P = ParamSpec("P")
T = TypeVar("T")


class Memo(Generic[P, T]):
    """
    A question, and answers to it.

    @param directory: gives what is in force.
    @param find: answers, by a directory and what is given; nothing else has a say.
    """

    def __init__(self, directory: Callable[[], Directory], find: Callable[Concatenate[Directory, P], T]) -> None:
        self._directory = directory
        self._find = find
        self._by: Directory | None = None
        self._found: dict[object, T] = {}

    def __call__(self, key: object, /, *given: P.args, **named: P.kwargs) -> T:
        """
        Ask.

        @param key: what the answer depends on, of all that is given.
        """
        directory = self._directory()
        if directory is not self._by:
            self._by = directory
            self._found.clear()
        try:
            return self._found[key]
        except KeyError:  # seldom, so that to ask before would cost more
            pass
        if len(self._found) >= MOST:
            self._found.clear()
        found = self._found[key] = self._find(directory, *given, **named)
        return found
