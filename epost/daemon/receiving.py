"""How clients are received: what each kind of port allows, who may log in, and what is written in front of mail."""

from dataclasses import replace
from typing import Any

from epost import __version__
from epost.daemon.ports import Ports
from epost.intake import Marks
from epost.login import desk
from epost.login.lockout import Lockout
from epost.login.logins import Logins, Rules
from epost.login.threads import Threads
from epost.net.receiver import ReceiverFactory
from epost.net.transaction import Patience
from epost.reload import Directories
from epost.settings import Settings
from epost.smtp.settings import ServerSettings
from epost.storage.hints import Hints

BUILD = "EPOST"


def letIn(ports: Ports, settings: Settings, receiver: ReceiverFactory, logins: Logins | None) -> None:
    """Let clients in: each kind of port has its own rules. @param receiver: what it has in common with the others."""
    common = receiver.settings
    people = replace(common, auth=True, submission=True)
    both = settings.submission.receiver
    ports.receiver.inside = receiver.beside(replace(common, auth=both), logins if both else None)
    ports.submission.inside = receiver.beside(people, logins)
    ports.submissions.inside = receiver.beside(people, logins, implicit=True)


def serverSettings(settings: Settings) -> ServerSettings:
    """What holds for every port."""
    limits = settings.limits
    return ServerSettings(
        settings.server.name,
        __version__,
        BUILD,
        limits.message_octets,
        limits.recipients,
        limits.errors,
        limits.bare_line_ends,
        limits.long_lines,
        startTls=bool(settings.tls.certificates),
    )


def patience(settings: Settings) -> Patience:
    """How long clients may take."""
    return Patience(settings.timeouts.command, settings.timeouts.block, handshake=settings.tls.handshake)


def marks(settings: Settings) -> Marks:
    """What is written in front of mail."""
    return Marks(settings.server.name, __version__, settings.limits.received)


def makeLogins(settings: Settings, directories: Directories, reactor: Any, hints: Hints | None) -> Logins | None:
    """Who may log in; L{None}: nobody. @param hints: where failures are remembered."""
    if not settings.submits:
        return None
    given, folder = settings.login, settings.folder
    rules = Rules(settings.server.name, given.mechanisms, given.clear, given.delay, given.lock_time)
    lockout = Lockout(
        reactor.seconds,
        given.failures,
        given.failures_per_address,
        given.failures_per_account,
        given.lock_time,
        given.exempt,
        hints,
    )
    key = desk.prepare(folder)
    return Logins(rules, directories, reactor, Threads(reactor), lockout, key, desk.Desk(folder, lockout))
