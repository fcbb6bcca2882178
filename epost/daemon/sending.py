"""How mail goes out: what settings say of other hosts, of waiting for them, and of what is returned."""

import socket
from pathlib import Path
from typing import Any

from epost.lanes import Limits
from epost.mail import retry
from epost.mail.address import Address
from epost.net.caller import Patience
from epost.net.carrier import Carrier
from epost.net.exchanges import Exchanges
from epost.net.security import Level, Levels, Trust
from epost.net.writing import Outbox
from epost.reload import Directories
from epost.returns import Letterhead
from epost.settings import Settings
from epost.storage.journal import SenderLog


def makeCarrier(settings: Settings, reactor: Any, wires: Any, outbox: Outbox, trust: Trust, log: SenderLog) -> Carrier:
    """
    What speaks to other hosts.

    @param wires: what TCP is spoken by. @param outbox: of what is said.
    """
    name, relay, times = settings.server.name, settings.relay, settings.timeouts
    servers = [(hop.host, hop.port) for hop in relay.name_servers]
    ours = frozenset(hop.host for hop in settings.listening if hop.port == 25)
    exchanges = Exchanges(reactor, name, ours, servers or None, ipv6=_hasIPv6())
    patience = Patience(
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
    levels = Levels(Level(relay.tls), {domain: Level(level) for domain, level in relay.tls_domains})
    return Carrier(wires, exchanges, log, name, relay.hello, patience, levels=levels, trust=trust, outbox=outbox)


def patience(settings: Settings) -> retry.Patience:
    """How long mail is tried."""
    times = settings.retry
    return retry.Patience(times.refused, times.deferred, times.expire, times.warn or float("inf"), dict(times.domains))


def limits(settings: Settings) -> Limits:
    """How many connections may be open to others."""
    return Limits(settings.queue.concurrency, settings.queue.per_destination)


def letterhead(settings: Settings, directories: Directories) -> Letterhead:
    """What notices look like."""
    notice, gateway = settings.notice, settings.relay.gateway

    def domain(sender: Address) -> str:
        """Whose postmaster writes to a sender: another's domain would be a forgery (spec 9)."""
        directory = directories()
        ours = directory.isLocal(sender.domain) or directory.hops.relay(sender.domain) is not None
        return sender.domain if ours and sender.domain else settings.server.name

    return Letterhead(
        domain, gateway.host if gateway else "", whole=notice.message_id == "name", octets=notice.original_octets
    )


def _hasIPv6() -> bool:
    """Whether this machine can reach anything by IPv6; nothing is sent."""
    if not Path("/proc/net/if_inet6").exists():
        return False
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        return not probe.connect_ex(("2001:db8::1", 53))
