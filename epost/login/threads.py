"""
The threads that hash passwords: two at most, so that the other core goes on with the mail, and a queue with an end.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from zope.interface import implementer

from epost.interfaces import IWorkers
from epost.mail.reply import Refused
from epost.smtp import wording

THREADS = 2
MOST = 64  # functions that run or wait: some seconds of hashing, and no client waits for longer


@implementer(IWorkers)
class Threads:
    """See L{IWorkers}. No thread is made before there is something to do."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._pool = ThreadPoolExecutor(THREADS, "passwords")
        self._given = 0

    def run(self, function: Callable[..., object], *arguments: object) -> "Deferred[object]":
        """See L{IWorkers}."""
        if self._given >= MOST:
            raise Refused(wording.loginsBusy())
        self._given += 1
        result: Deferred[object] = Deferred()
        self._pool.submit(function, *arguments).add_done_callback(
            lambda future: self._reactor.callFromThread(self._done, future, result)
        )
        return result

    def _done(self, future: "Future[object]", result: "Deferred[object]") -> None:
        """In the reactor's thread."""
        self._given -= 1
        if future.cancelled():
            result.errback(Refused(wording.loginsBusy()))
        elif error := future.exception():
            result.errback(error)
        else:
            result.callback(future.result())

    def stop(self) -> None:
        """See L{IWorkers}."""
        self._pool.shutdown(wait=True, cancel_futures=True)
