"""
Reading without a detour.

For each event on each socket Twisted's reactor makes a context for the log, which costs more than to read a command.
Here all TCP sockets are one reader of the reactor: an epoll of its own, which tells them that something has come, and
knows when all of it is read, so that what is said to it can leave together. Nothing else changes: the transports are
Twisted's, and whatever else they ask of their reactor is done by that.
"""

import select
from typing import Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReactorFDSet, IReadDescriptor
from twisted.internet.protocol import ClientFactory, ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from epost.net.writing import Outbox

MOST = 64  # events in one turn: others want the reactor too

# Shared, as the reactor does: nobody needs a stack of how a connection ended.
_ENDS: dict[type, Failure] = {kind: Failure(kind()) for kind in (ConnectionDone, ConnectionLost)}  # type: ignore[no-untyped-call]

_log = Logger()


@implementer(IReadDescriptor, IReactorFDSet)
class Reading:
    """
    A reactor, as endpoints, listening ports and connections see it.

    @param reactor: the one that runs.
    @ivar outbox: for what is said on those connections.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.outbox = Outbox(reactor)
        self.seconds, self.callLater = reactor.seconds, reactor.callLater
        self.addWriter, self.removeWriter = reactor.addWriter, reactor.removeWriter
        self._epoll = select.epoll()
        self._readers: dict[int, IReadDescriptor] = {}
        self.fileno = self._epoll.fileno

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    # What an endpoint asks of a reactor.

    def listenTCP(self, port: int, factory: ServerFactory, backlog: int = 50, interface: str = "") -> tcp.Port:
        """See IReactorTCP."""
        listening = tcp.Port(port, factory, backlog, interface, self)
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory,
        timeout: float = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> tcp.Connector:
        """See IReactorTCP."""
        connector = tcp.Connector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    # What a transport asks.

    def addReader(self, reader: IReadDescriptor) -> None:
        """See IReactorFDSet."""
        descriptor = reader.fileno()
        if self._readers.get(descriptor) is not reader:  # another's is of a socket that was closed without a word
            self._epoll.register(descriptor, select.EPOLLIN)
            if not self._readers:
                self._reactor.addReader(self)
            self._readers[descriptor] = reader

    def removeReader(self, reader: IReadDescriptor) -> None:
        """See IReactorFDSet. It is asked of those too that are not read."""
        descriptor = reader.fileno()
        if self._readers.get(descriptor) is reader:
            del self._readers[descriptor]
            self._epoll.unregister(descriptor)
            if not self._readers:
                self._reactor.removeReader(self)

    # What the reactor asks.

    def doRead(self) -> None:
        """Something has come on some of the sockets."""
        readers = self._readers
        self.outbox.begin()
        for descriptor, _ in self._epoll.poll(0, MOST):
            reader = readers.get(descriptor)
            if reader is None:  # it was ended by what came on another
                continue
            try:
                why: Any = reader.doRead()
            except Exception as error:
                _log.failure("reading from {reader}", reader=reader)
                why = error
            if why:
                try:
                    self._end(reader, why)
                except Exception:  # else the reactor would end all of them
                    _log.failure("ending {reader}", reader=reader)
        self.outbox.end()

    def _end(self, reader: Any, why: Exception) -> None:
        """A socket has nothing more to give."""
        self.removeReader(reader)
        if type(why) is ConnectionDone and IHalfCloseableDescriptor.providedBy(reader):
            reader.readConnectionLost(_ENDS[ConnectionDone])
        else:
            reader.stopWriting()
            reader.connectionLost(_ENDS.get(type(why)) or Failure(why))  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has let go of us."""

    def logPrefix(self) -> str:
        """What is logged here says itself who it is about."""
        return "-"


def close(transport: Any) -> None:
    """
    End a plain TCP connection of which all is said and written, in order: what its C{loseConnection} does, without two
    more turns of the reactor. Not to be called while it reads.
    """
    transport.stopReading()
    transport.stopWriting()
    transport.connectionLost(_ENDS[ConnectionDone])


def wires(reactor: Any) -> tuple[Any, Outbox]:
    """What TCP is to be spoken by, and with which outbox, where a reactor runs; one in memory speaks for itself."""
    if not IReactorFDSet.providedBy(reactor):
        return reactor, Outbox(reactor)
    reading = Reading(reactor)
    return reading, reading.outbox
