"""
What both daemons are made of: objects built from settings and directory, started and stopped in order.

Ports are opened while the process still may open them; everything that touches the work folder waits until it has
become the user it will be. At the end the order is turned round: no new clients, then the messages at hand, then the
queue, then the disk, then the logs.

What only shows when the daemon is the user that it will be, a port that is taken or a folder that cannot be made, ends
the start with the words that say so and with status 1.
"""

import errno
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from OpenSSL import SSL
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from epost import __version__, reload
from epost.admission import Admission
from epost.allowance import Allowance, Answered, Quota
from epost.dispatch import Dispatcher
from epost.expansion import Expansion, Returning
from epost.intake import Intake, Marks
from epost.lanes import Limits
from epost.letters import Letters
from epost.login import desk
from epost.login.lockout import Lockout
from epost.login.logins import Logins, Rules
from epost.login.threads import Threads
from epost.mail import retry, trace
from epost.mail.address import Address
from epost.mail.entry import Entry
from epost.mail.fault import Fault
from epost.mail.route import Local
from epost.mail.srs import Srs
from epost.net import caller, security
from epost.net.carrier import Carrier
from epost.net.crowd import Crowd
from epost.net.exchanges import Exchanges
from epost.net.reading import wires
from epost.net.receiver import ReceiverFactory
from epost.net.tls import Pairs, ServerContexts, read, reason
from epost.net.transaction import Patience
from epost.returns import Letterhead
from epost.settings import Settings
from epost.smtp.settings import ServerSettings
from epost.storage.disk import Disk, IDisk
from epost.storage.durable import Commits, makeFolder
from epost.storage.hints import Hints
from epost.storage.inbox import Inbox
from epost.storage.journal import ReceiveLog, SenderLog
from epost.storage.lock import FolderLock, FolderTaken
from epost.storage.places import Places
from epost.storage.room import Room
from epost.storage.secret import secrets
from epost.storage.serial import Serial, SerialDamaged
from epost.storage.spool import INCOMING, Spool
from epost.storage.thread import CommitThread, Worker
from epost.tables.directory import Directory
from epost.verify import Verifier

BUILD = "EPOST"
BACKLOG = 4096  # Twisted's 50 overflow in a burst of clients, and who does not fit in waits a second for his next SYN
FILES = 1000  # open files beside those of clients: a group commit, connections to other hosts, tables, logs
GRACE = 10.0  # seconds that messages at hand have when the daemon stops

_log = Logger()


class _Door(Factory):
    """Takes connections for a factory that is built later than the port is opened."""

    noisy = False
    inside: ReceiverFactory

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """As the factory does."""
        return self.inside.buildProtocol(addr)


class Daemon(MultiService):
    """
    One of the two daemons.

    @ivar crowd: the connections.
    @ivar contexts: the certificates; L{None} where [tls] names none, and before the start.
    @ivar logins: who may log in; L{None} where nobody may, and before the start.
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
        self.directories = reload.Directories(settings, directory, reactor)
        self._door, self._submission, self._submissions = _Door(), _Door(), _Door()
        self.logins: Logins | None = None
        self._ports: list[IListeningPort] = []
        self._unheard: list[str] = []
        self.contexts: ServerContexts | None = None
        self.hints: Hints | None = None
        self._wires, self._outbox = wires(reactor)
        self._disk = disk or Disk()
        self._pool = pool or CommitThread()

    # The start.

    def privilegedStartService(self) -> None:
        """Open the ports."""
        self._makeRoom(raiseFileLimit())
        submission = self.settings.submission
        self._listen(self._door, "server.listen", self.settings.server.listen)
        self._listen(self._submission, "submission.listen", submission.listen)
        self._listen(self._submissions, "submission.listen_tls", submission.listen_tls)
        if self._unheard:
            _giveUp("\n".join(self._unheard))
        super().privilegedStartService()  # type: ignore[no-untyped-call]

    def _listen(self, door: _Door, key: str, descriptions: tuple[str, ...]) -> None:
        """Open ports. @param key: that names them."""
        for description in descriptions:
            given = "backlog=" in description or description.startswith("systemd:")
            wide = description if given else f"{description}:backlog={BACKLOG}"
            try:
                endpoint = serverFromString(self._wires, wide)  # type: ignore[no-untyped-call]
            except LookupError:  # systemd's, where it passed no such socket
                self._noPort("there is no such socket", description, key)
            else:
                endpoint.listen(door).addCallbacks(
                    self._ports.append,
                    lambda failure, *which: self._noPort(_unopened(failure.value), *which),
                    errbackArgs=(description, key),
                )

    def _noPort(self, why: object, description: str, key: str) -> None:
        """Said when all were tried: a L{SystemExit} from a Deferred would end nothing."""
        line = self.settings.line(*key.split("."))
        self._unheard.append(f"{self.settings.file}:{line}: cannot listen on {description}: {why}")

    def _makeRoom(self, files: int) -> None:
        """No more connections than may be open beside the files of a group commit and our own connections."""
        room = max(files - FILES, files // 2)
        if room < self.crowd.connections:
            _log.warn(
                "only {files} files may be open (ulimit -n): at most {room} connections, not {wanted}",
                files=files,
                room=room,
                wanted=self.crowd.connections,
            )
            self.crowd.connections = room

    def startService(self) -> None:
        """Take the work folder and begin."""
        try:
            self._build()
        except (FolderTaken, SerialDamaged, OSError, ValueError) as error:
            _giveUp(f"{self.settings.folder}: {error}")
        self.directories.setServiceParent(self)  # type: ignore[no-untyped-call]
        if self.contexts is not None:
            self.contexts.setServiceParent(self)  # type: ignore[no-untyped-call]
        if self.logins is not None:
            self.logins.setServiceParent(self)  # type: ignore[no-untyped-call]
        self.dispatcher.setServiceParent(self)  # type: ignore[no-untyped-call]
        signal.signal(signal.SIGHUP, self._hangUp)
        super().startService()  # type: ignore[no-untyped-call]
        _log.info(
            "epost-{kind} {version} takes mail for {name} on {ports}",
            kind=self.settings.kind,
            version=__version__,
            name=self.settings.server.name,
            ports=", ".join(self._everywhere),
        )

    @property
    def _everywhere(self) -> tuple[str, ...]:
        """The endpoints of all ports."""
        submission = self.settings.submission
        return (*self.settings.server.listen, *submission.listen, *submission.listen_tls)

    def _hangUp(self, number: int, frame: object) -> None:
        """SIGHUP: read tables and certificates again."""
        self.reactor.callFromThread(self._readAgain)

    def _readAgain(self) -> None:
        self.directories.reload()
        if self.contexts is not None:
            self.contexts.reload()

    def _build(self) -> None:
        """Make every part; the order is that of the picture in L{epost}."""
        settings, clock, disk, root = self.settings, self.reactor, self._disk, str(self.settings.folder)
        makeFolder(Disk(), root)  # for the lock and the logs, whatever C{disk} is
        self.lock = FolderLock(root)
        self._secure()
        self._pool.start()
        inThread, fromThread = self._pool.callInThread, self.reactor.callFromThread
        self.commits = Commits(disk, settings.spool.sync, inThread, fromThread, clock.seconds, clock.callLater)
        spool = self.spool = Spool(disk, root, self.commits)
        places = Places(root, str(settings.place)) if settings.place else None
        unread: dict[str, OSError] = {}
        highest = max(spool.highest, places.sweep(disk, unread) if places else 0)
        for path, error in unread.items():
            self.commits.trouble.tell(_log, path, "left out at the start", error)
        serial = self.serial = Serial(disk, root, highest, self.commits.trouble, list(unread))
        inbox = Inbox(disk, places, self.commits, serial.first, clock.seconds) if places else None
        self.senderLog = SenderLog(f"{root}/senderlog", clock)
        self.receiveLog = ReceiveLog(f"{root}/receivelog", clock)
        accepted = self._accepted
        srs = Srs(secrets(disk, root, os.urandom(30))) if settings.forwarding.srs else None
        router = Expansion(self.directories, srs, clock.seconds)
        letters: Letters | None = None
        allowance: Allowance | None = None
        if inbox is not None:
            hints = self.hints = Hints(disk, root, clock, inThread, fromThread)
            answered, name = Answered(hints, clock.seconds), settings.server.name
            letters = Letters(self.directories, serial, spool, router, answered, clock, name, accepted)
            allowance = Allowance(hints, clock.seconds, letters.warnAllowance)
        carrier = self._carrier(clock)
        verifier = Verifier(router, carrier, clock, settings.relay.verify_known, settings.relay.verify_unknown)
        senders = reload.Restrictions(boxFolders(settings), clock.seconds)
        verify = verifier if settings.relay.verify else None
        admission = Admission(self.directories, inbox, verify, senders, allowance)
        if inbox is not None and letters is not None:
            inbox.limit = admission.limit
            inbox.subscribe(Quota(hints, clock.seconds, admission.limit, letters.warnQuota).seen)
        room = self._room(root, places)
        self.dispatcher = self._dispatcher(inbox, router, carrier, clock, letters, room)
        self.directories.subscribe(verifier.forget)
        self.directories.subscribe(self.dispatcher.lookAgain)
        marks = Marks(settings.server.name, __version__, settings.limits.received)
        intake = Intake(marks, serial, spool, inbox, router, self.senderLog, clock, accepted, room, letters)
        patience = Patience(settings.timeouts.command, settings.timeouts.block, handshake=settings.tls.handshake)
        decides = Returning(admission, router) if srs else admission
        rules, heard = self._serverSettings(), self.receiveLog
        self._open(
            ReceiverFactory(
                rules, decides, intake, heard, self.crowd, patience, clock, trace.date, self.contexts, self._outbox
            )
        )

    def _open(self, receiver: ReceiverFactory) -> None:
        """Let clients in: each kind of port has its own rules."""
        if self.settings.submits:
            self.logins = self._logins()
        common = replace(receiver.settings, startTls=self.contexts is not None)
        people = replace(common, auth=True, submission=True)
        both = self.settings.submission.receiver
        self._door.inside = receiver.beside(replace(common, auth=both), self.logins if both else None)
        self._submission.inside = receiver.beside(people, self.logins)
        self._submissions.inside = receiver.beside(people, self.logins, implicit=True)

    def _logins(self) -> Logins:
        """Who may log in."""
        given, folder, seconds = self.settings.login, self.settings.folder, self.reactor.seconds
        rules = Rules(self.settings.server.name, given.mechanisms, given.clear, given.delay, given.lock_time)
        lockout = Lockout(
            seconds,
            given.failures,
            given.failures_per_address,
            given.failures_per_account,
            given.lock_time,
            given.exempt,
            self.hints,
        )
        key = desk.prepare(folder)
        return Logins(
            rules, self.directories, self.reactor, Threads(self.reactor), lockout, key, desk.Desk(folder, lockout)
        )

    def _secure(self) -> None:
        """Read certificates: here, as the user that must be able to read them again."""
        faults: list[Fault] = []
        self._trust = trust(self.settings, faults)
        pairs = certificates(self.settings)
        if pairs is not None:
            self.contexts = ServerContexts(pairs, self.reactor)
            self.contexts.load()
            faults += self.contexts.faults
            for note in self.contexts.notes:
                _log.warn("{note}", note=str(note))
        if faults:
            _giveUp("\n".join(map(str, faults)))

    def _room(self, root: str, places: Places | None) -> Room:
        """What is looked at before mail is taken: the file systems of the queue and of the mailboxes."""
        settings = self.settings.spool
        folders = [f"{root}/{INCOMING}", *([places.fixed()] if places else [])]
        return Room(self._disk, folders, settings.reserve_octets, settings.reserve_files, self.reactor.seconds)

    def _serverSettings(self) -> ServerSettings:
        limits = self.settings.limits
        return ServerSettings(
            self.settings.server.name,
            __version__,
            BUILD,
            limits.message_octets,
            limits.recipients,
            limits.errors,
            limits.bare_line_ends,
            limits.long_lines,
        )

    def _carrier(self, clock: IReactorTime) -> Carrier:
        """The sending side."""
        settings = self.settings
        times = settings.timeouts
        servers = [(hop.host, hop.port) for hop in settings.relay.name_servers]
        ours = frozenset(hop.host for hop in settings.listening if hop.port == 25)
        exchanges = Exchanges(clock, settings.server.name, ours, servers or None, ipv6=hasIPv6())
        patience = caller.Patience(
            connect=times.connect,
            greeting=times.greeting,
            hello=times.greeting,
            mail=times.mail,
            rcpt=times.recipient,
            data=times.start,
            block=times.block,
            end=times.data,
            handshake=settings.tls.handshake,
        )
        named = {name: security.Level(level) for name, level in settings.relay.tls_domains}
        return Carrier(
            self._wires,
            exchanges,
            self.senderLog,
            settings.server.name,
            settings.relay.hello,
            patience,
            levels=security.Levels(security.Level(settings.relay.tls), named),
            trust=self._trust,
            outbox=self._outbox,
        )

    def _accepted(self, entry: Entry) -> None:
        """A message is in the queue."""
        self.dispatcher.accepted(entry)

    def _dispatcher(
        self,
        inbox: Inbox | None,
        router: Expansion,
        carrier: Carrier,
        clock: IReactorTime,
        letters: Letters | None,
        room: Room,
    ) -> Dispatcher:
        """The queue."""
        settings = self.settings
        gateway = settings.relay.gateway
        letterhead = Letterhead(
            self._noticeDomain,
            gateway.host if gateway else "",
            whole=settings.notice.message_id == "name",
            octets=settings.notice.original_octets,
        )
        times = settings.retry
        patience = retry.Patience(
            times.refused, times.deferred, times.expire, times.warn or float("inf"), dict(times.domains)
        )
        limits = Limits(settings.queue.concurrency, settings.queue.per_destination)
        return Dispatcher(
            self.spool,
            inbox,
            router,
            carrier,
            self.senderLog,
            clock,
            letterhead,
            patience,
            limits,
            GRACE,
            letters,
            room.end,
        )

    def _noticeDomain(self, sender: Address) -> str:
        """Whose postmaster writes to a sender: another's domain would be a forgery (spec 9)."""
        directory = self.directories()
        ours = directory.isLocal(sender.domain) or directory.hops.relay(sender.domain) is not None
        return sender.domain if ours and sender.domain else self.settings.server.name

    # The end.

    def stopService(self) -> "Deferred[None]":
        """No new clients, then what is at hand, then the queue, then the disk. Fires when all is written."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await DeferredList([cast("Deferred[None]", port.stopListening() or succeed(None)) for port in self._ports])
        await self.crowd.disperse(self.reactor, GRACE)
        await cast("Deferred[object]", super().stopService() or succeed(None))  # type: ignore[no-untyped-call]
        await self.spool.release()
        await self.commits.close()
        if self.hints is not None:  # what was committed last may have filled a mailbox
            await self.hints.release()
        self.serial.release()
        self._pool.stop()
        self.senderLog.flush()
        self.receiveLog.flush()
        self._door.inside.refusals.flush()
        self.lock.release()
        _log.info("epost-{kind} has stopped", kind=self.settings.kind)


def boxFolders(settings: Settings) -> Callable[[Local], str] | None:
    """
    What gives the folder of a mailbox; L{None} where there are none.

    @raise ValueError: mailboxes cannot lie where they are configured.
    """
    if settings.place is None:
        return None
    places = Places(str(settings.folder), str(settings.place))
    return lambda box: places.folders(box)[-1]


def certificates(settings: Settings) -> Pairs | None:
    """What [tls] names; L{None} where it names nothing."""
    pairs = settings.tls.certificates
    return Pairs(settings.file, settings.line("tls", "certificates"), pairs) if pairs else None


def trust(settings: Settings, faults: list[Fault]) -> security.Trust:
    """Whose certificates are good. @param faults: gets what is wrong with the file of [relay] tls_roots."""
    roots = settings.relay.tls_roots
    if roots is None:
        return security.Trust()
    trusted = security.Trust(str(settings.path(roots)))
    try:
        trusted.context()
    except SSL.Error as error:
        why = f'[relay] tls_roots = "{roots}" cannot be read: {reason(error)}'
        faults.append(Fault(settings.file, settings.line("relay", "tls_roots"), why, "certificates in PEM"))
    return trusted


def checkTls(settings: Settings, faults: list[Fault], notes: list[Fault], now: float) -> None:
    """What is wrong with what settings name for TLS. @param now: seconds since 1970."""
    pairs = certificates(settings)
    if pairs is not None:
        read(pairs, faults, notes, now)
    trust(settings, faults)


def _unopened(why: Exception) -> str:
    """Why a port could not be opened, and what gives the right to it where that is missing."""
    if getattr(getattr(why, "socketError", None), "errno", None) != errno.EACCES:
        return str(why)
    right = "root (twistd --uid USER …) or CAP_NET_BIND_SERVICE, which the units in etc/systemd give"
    return f"{str(why).rstrip('.')}; it needs {right}"


def _giveUp(words: str) -> None:
    """The daemon cannot run: say why where the operator looks, and end."""
    _log.critical("{words}", words=words)
    raise SystemExit(1)


def raiseFileLimit() -> int:
    """As many open files as the system lets us have: each connection is one. @return: how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else sys.maxsize


def hasIPv6() -> bool:
    """Whether this machine can reach anything by IPv6; nothing is sent."""
    if not Path("/proc/net/if_inet6").exists():
        return False
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        return not probe.connect_ex(("2001:db8::1", 53))


__all__ = [
    "BUILD",
    "GRACE",
    "Daemon",
    "boxFolders",
    "certificates",
    "checkTls",
    "hasIPv6",
    "raiseFileLimit",
    "trust",
]
