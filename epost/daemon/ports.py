"""
The ports of a daemon, and how many files it may open.

They are opened while the process still may, before that which is behind them is built: a L{Door} stands there for it.
"""

import errno
import resource
import sys
from typing import Any, cast

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from epost.net.crowd import Crowd
from epost.net.receiver import ReceiverFactory
from epost.settings import Settings

BACKLOG = 4096  # Twisted's 50 overflow in a burst of clients, and who does not fit in waits a second for his next SYN
FILES = 1000  # open files beside those of clients: a group commit, connections to other hosts, tables, logs

_log = Logger()


class Door(Factory):
    """Takes connections for a factory that is built later than the port is opened."""

    noisy = False
    inside: ReceiverFactory

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """As the factory does."""
        return self.inside.buildProtocol(addr)


class Ports:
    """
    Where clients come in.

    @ivar receiver: of C{[server] listen}.
    @ivar submission: of C{[submission] listen}.
    @ivar submissions: of C{[submission] listen_tls}.
    """

    def __init__(self, settings: Settings, wires: Any) -> None:
        """@param wires: what TCP is spoken by."""
        self.receiver, self.submission, self.submissions = Door(), Door(), Door()
        self._settings = settings
        self._wires = wires
        self._open: list[IListeningPort] = []
        self._faults: list[str] = []

    def open(self) -> list[str]:
        """Open all of them. @return: for each that could not be the words that say so; no error comes by itself."""
        server, submission = self._settings.server, self._settings.submission
        self._listen(self.receiver, "server.listen", server.listen)
        self._listen(self.submission, "submission.listen", submission.listen)
        self._listen(self.submissions, "submission.listen_tls", submission.listen_tls)
        return self._faults

    async def close(self) -> None:
        """No new clients."""
        await DeferredList([cast("Deferred[None]", port.stopListening() or succeed(None)) for port in self._open])

    def _listen(self, door: Door, key: str, descriptions: tuple[str, ...]) -> None:
        """Open some. @param key: that names them."""
        for description in descriptions:
            given = "backlog=" in description or description.startswith("systemd:")
            wide = description if given else f"{description}:backlog={BACKLOG}"
            try:
                endpoint = serverFromString(self._wires, wide)  # type: ignore[no-untyped-call]
            except LookupError:  # systemd's, where it passed no such socket
                self._fault("there is no such socket", description, key)
            else:
                endpoint.listen(door).addCallbacks(
                    self._open.append,
                    lambda failure, *which: self._fault(_unopened(failure.value), *which),
                    errbackArgs=(description, key),
                )

    def _fault(self, why: object, description: str, key: str) -> None:
        """Told when all were tried: a L{SystemExit} from a Deferred would end nothing."""
        line = self._settings.line(*key.split("."))
        self._faults.append(f"{self._settings.file}:{line}: cannot listen on {description}: {why}")


def _unopened(why: Exception) -> str:
    """Why a port could not be opened, and what gives the right to it where that is missing."""
    if getattr(getattr(why, "socketError", None), "errno", None) != errno.EACCES:
        return str(why)
    right = "root (twistd --uid USER …) or CAP_NET_BIND_SERVICE, which the units in etc/systemd give"
    return f"{str(why).rstrip('.')}; it needs {right}"


def makeRoom(crowd: Crowd) -> None:
    """
    As many open files as the system lets us have, and no more connections than may be open beside those of a group
    commit and our own connections.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files = hard if hard != resource.RLIM_INFINITY else sys.maxsize
    room = max(files - FILES, files // 2)
    if room < crowd.connections:
        _log.warn(
            "only {files} files may be open (ulimit -n): at most {room} connections, not {wanted}",
            files=files,
            room=room,
            wanted=crowd.connections,
        )
        crowd.connections = room
