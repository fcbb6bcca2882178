"""
A daemon: its parts are made from settings and directory, started, and stopped in order.

Ports are opened while the process still may open them; everything that touches the work folder waits until it has
become the user it will be. At the end the order is turned round: no new clients, then the messages at hand, then the
queue, then the disk, then the logs.

What only shows when the daemon is the user that it will be, a port that is taken or a folder that cannot be made, ends
the start with the words that say so and with status 1.
"""

import signal
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from epost import __version__
from epost.admission import Admission
from epost.allowance import Allowance, Answered, Quota
from epost.daemon import receiving, sending
from epost.daemon.ports import Ports, makeRoom
from epost.daemon.store import Store, boxFolders
from epost.daemon.tls import certificates, trust
from epost.dispatch import Dispatcher
from epost.expansion import Expansion
from epost.intake import Intake
from epost.letters import Letters
from epost.login.logins import Logins
from epost.mail import trace
from epost.mail.entry import Entry
from epost.mail.fault import Fault
from epost.net.crowd import Crowd
from epost.net.reading import wires
from epost.net.receiver import ReceiverFactory
from epost.net.security import Trust
from epost.net.tls import ServerContexts
from epost.reload import Directories, Restrictions
from epost.settings import Settings
from epost.storage.disk import Disk, IDisk
from epost.storage.durable import makeFolder
from epost.storage.lock import FolderLock, FolderTaken
from epost.storage.serial import SerialDamaged
from epost.storage.thread import CommitThread, Worker
from epost.tables.directory import Directory
from epost.verify import Verifier

GRACE = 10.0  # seconds that messages at hand have when the daemon stops

_log = Logger()


class Daemon(MultiService):
    """
    One of the two daemons.

    @ivar crowd: the connections.
    @ivar ports: where they come in.
    @ivar contexts: the certificates; L{None} where [tls] names none, and before the start.
    @ivar logins: who may log in; L{None} where nobody may, and before the start.
    @ivar lock: holds the work folder. @ivar store: what lies in it. @ivar dispatcher: the queue. From the start on.
    """

    def __init__(
        self,
        settings: Settings,
        directory: Directory,
        reactor: Any,
        disk: IDisk | None = None,
        pool: Worker | None = None,
    ) -> None:
        """
        @param reactor: clock and network.
        @param disk: where queue, mailboxes and numbers lie; L{None}: the machine's. Lock and logs are on the machine's.
        @param pool: whose thread commits; started and stopped here. L{None}: one of our own.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.settings = settings
        self.reactor = reactor
        self.crowd = Crowd(settings.server.name, settings.limits.connections, settings.limits.connections_per_address)
        self.directories = Directories(settings, directory, reactor)
        self._wires, self._outbox = wires(reactor)
        self.ports = Ports(settings, self._wires)
        self.contexts: ServerContexts | None = None
        self.logins: Logins | None = None
        self._disk = disk or Disk()
        self._pool = pool or CommitThread()

    # The start.

    def privilegedStartService(self) -> None:
        """Open the ports."""
        makeRoom(self.crowd)
        if faults := self.ports.open():
            _giveUp("\n".join(faults))
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        """Take the work folder and begin."""
        try:
            self.build()
        except (FolderTaken, SerialDamaged, OSError, ValueError) as error:
            _giveUp(f"{self.settings.folder}: {error}")
        for part in (self.directories, self.contexts, self.logins, self.dispatcher):
            if part is not None:
                part.setServiceParent(self)  # type: ignore[no-untyped-call]
        signal.signal(signal.SIGHUP, self._hangUp)
        super().startService()  # type: ignore[no-untyped-call]
        server, submission = self.settings.server, self.settings.submission
        _log.info(
            "epost-{kind} {version} takes mail for {name} on {ports}",
            kind=self.settings.kind,
            version=__version__,
            name=server.name,
            ports=", ".join((*server.listen, *submission.listen, *submission.listen_tls)),
        )

    def _hangUp(self, number: int, frame: object) -> None:
        """SIGHUP: read tables and certificates again."""
        self.reactor.callFromThread(self._readAgain)

    def _readAgain(self) -> None:
        self.directories.reload()
        if self.contexts is not None:
            self.contexts.reload()

    def build(self) -> None:
        """Take the work folder and make every part; the order is that of the picture in L{epost}."""
        settings, clock, directories = self.settings, self.reactor, self.directories
        makeFolder(Disk(), str(settings.folder))  # for the lock and the logs, whatever the disk is
        self.lock = FolderLock(str(settings.folder))
        trusted = self._secure()
        store = self.store = Store(settings, clock, self._disk, self._pool)
        spool, serial, inbox, hints, log = store.spool, store.serial, store.inbox, store.hints, store.senderLog
        router = Expansion(directories, store.srs, clock.seconds)
        letters: Letters | None = None
        allowance: Allowance | None = None
        if hints is not None:
            answered, name = Answered(hints, clock.seconds), settings.server.name
            letters = Letters(directories, serial, spool, router, answered, clock, name, self._accepted)
            allowance = Allowance(hints, clock.seconds, letters.warnAllowance)
        carrier = sending.makeCarrier(settings, clock, self._wires, self._outbox, trusted, log)
        verifier = Verifier(router, carrier, clock, settings.relay.verify_known, settings.relay.verify_unknown)
        verify = verifier if settings.relay.verify else None
        restrictions = Restrictions(boxFolders(settings), clock.seconds)
        returned = router.returned if store.srs else None
        admission = Admission(directories, inbox, verify, restrictions, allowance, returned)
        if inbox is not None and hints is not None and letters is not None:
            inbox.limit = admission.limit
            inbox.subscribe(Quota(hints, clock.seconds, admission.limit, letters.warnQuota).seen)
        letterhead, patience = sending.letterhead(settings, directories), sending.patience(settings)
        limits, settled = sending.limits(settings), store.room.end
        self.dispatcher = Dispatcher(
            spool, inbox, router, carrier, log, clock, letterhead, patience, limits, GRACE, letters, settled
        )
        directories.subscribe(verifier.forget)
        directories.subscribe(self.dispatcher.lookAgain)
        marks = receiving.marks(settings)
        intake = Intake(marks, serial, spool, inbox, router, log, clock, self._accepted, store.room, letters)
        receiver = ReceiverFactory(
            receiving.serverSettings(settings),
            admission,
            intake,
            store.receiveLog,
            self.crowd,
            receiving.patience(settings),
            clock,
            trace.date,
            self.contexts,
            self._outbox,
        )
        self.logins = receiving.makeLogins(settings, directories, clock, hints)
        receiving.letIn(self.ports, settings, receiver, self.logins)

    def _secure(self) -> Trust:
        """Read certificates: here, as the user that must be able to read them again. @return: whose are good."""
        faults: list[Fault] = []
        trusted = trust(self.settings, faults)
        pairs = certificates(self.settings)
        if pairs is not None:
            self.contexts = ServerContexts(pairs, self.reactor)
            self.contexts.load()
            faults += self.contexts.faults
            for note in self.contexts.notes:
                _log.warn("{note}", note=str(note))
        if faults:
            _giveUp("\n".join(map(str, faults)))
        return trusted

    def _accepted(self, entry: Entry) -> None:
        """A message is in the queue: told to what is made later than whoever tells it."""
        self.dispatcher.accepted(entry)

    # The end.

    def stopService(self) -> "Deferred[None]":
        """No new clients, then what is at hand, then the queue, then the disk. Fires when all is written."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.ports.close()
        await self.crowd.disperse(self.reactor, GRACE)
        await cast("Deferred[object]", super().stopService() or succeed(None))  # type: ignore[no-untyped-call]
        await self.store.release()
        self.ports.receiver.inside.refusals.flush()
        self.lock.release()
        _log.info("epost-{kind} has stopped", kind=self.settings.kind)


def _giveUp(words: str) -> None:
    """The daemon cannot run: say why where the operator looks, and end."""
    _log.critical("{words}", words=words)
    raise SystemExit(1)
