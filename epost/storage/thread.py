"""
The committing thread: one thread that does what it is given, in order.

Twisted's thread pool does that too, and is made to do much more: handing one function over costs it as much CPU as a
small message costs to write.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

from twisted.logger import Logger


class Worker(Protocol):
    """Whatever runs functions away from the reactor, one at a time."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """Do what was given before, and end."""

    def callInThread(self, func: Callable[..., object], *args: Any) -> object:
        """Run a function some time."""


class CommitThread:
    """
    One thread.

    @param name: for whoever looks at the process.
    """

    _log = Logger()

    def __init__(self, name: str = "commits") -> None:
        self._given: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)  # a start that fails must end

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self) -> None:
        """Return when all that was given is done."""
        self._given.put(None)
        self._thread.join()

    def callInThread(self, func: Callable[..., object], *args: Any) -> None:
        """Give it a function. What it raises is a bug: it is logged, and the thread goes on."""
        self._given.put((func, args))

    def _run(self) -> None:
        while (given := self._given.get()) is not None:
            function, arguments = given
            try:
                function(*arguments)
            except Exception:
                self._log.failure("in the committing thread")
