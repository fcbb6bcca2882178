"""
The DNS as a mailer sees it: a domain's mail hosts, a host's addresses.

No such domain, a null MX, and a name with neither MX nor address are final; every fault of the DNS itself is a 4xx, for
it says nothing about the domain (spec 4). So is an answer that was cut, or that holds neither records nor the SOA that
proves that there are none. Answers are kept as long as they allow, "there is none" as well.

RFC 5321 5.1 (MX, the loop rule), RFC 7505 (null MX), RFC 2308 (negative answers), RFC 5321 4.1.3 (address literals).
"""

import ipaddress
import random
from collections import OrderedDict
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet import udp
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.names import dns
from twisted.names.client import Resolver
from twisted.names.error import (
    DNSFormatError,
    DNSNameError,
    DNSQueryRefusedError,
    DNSServerError,
    DomainError,
)
from twisted.names.hosts import searchFileForAll
from twisted.python import log
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath
from zope.interface import implementer

from epost.interfaces import IExchanges
from epost.mail.address import AddressError, domainKey
from epost.mail.reply import Refused, Reply
from epost.mail.route import Hop

EXCHANGES = 20  # of a domain are looked at, the best
ALIASES = 8  # CNAMEs followed before it is called a loop
KEPT = 10000  # answers
KEPT_SECONDS = 86400
NONE_SECONDS = 3600  # "there is none" is believed no longer, whatever the zone says
SILENT_SECONDS = 5  # how long a fault of the DNS is believed: enough for a burst to one domain
TIMEOUTS = (2, 4, 8)  # seconds for each round through the name servers


class Asks(Protocol):
    """What is needed of a resolver of L{twisted.names}: queries that are under way are shared there."""

    def query(self, query: dns.Query) -> "Deferred[Any]":
        """Answers, authority, additional."""


class _Port(udp.Port):
    """A port without lines in the log, of which the library's has four for each question: their format is empty."""

    def startListening(self) -> None:
        """It is opened."""
        log.callWithContext({"log_format": ""}, super().startListening)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure | None = None) -> None:
        """It is closed."""
        log.callWithContext({"log_format": ""}, super().connectionLost, reason)  # type: ignore[no-untyped-call]


class _Quiet:
    """A reactor whose UDP ports are such."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenUDP(self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192) -> Any:
        """See L{IReactorUDP}."""
        made = _Port(port, protocol, interface, maxPacketSize, self._reactor)  # type: ignore[no-untyped-call]
        made.startListening()
        return made


class Asker(Resolver):
    """
    The library's, without its lines in the log; and without asking for ever where an answer is cut over TCP as well.

    @param reactor: one of real sockets has UDP ports that say nothing in the log.
    """

    def __init__(self, *, reactor: Any, **given: Any) -> None:
        quiet = _Quiet(reactor) if IReactorFDSet.providedBy(reactor) else reactor
        super().__init__(reactor=quiet, **given)  # type: ignore[no-untyped-call]

    def filterAnswers(self, message: dns.Message) -> Any:
        """Records, a failure, or a Deferred of them where it must be asked over TCP."""
        if message.trunc:
            return self.queryTCP(message.queries).addCallback(self._whole)  # type: ignore[no-untyped-call]
        return super().filterAnswers(message)  # type: ignore[no-untyped-call]

    def _whole(self, message: dns.Message) -> Any:
        if message.trunc:
            raise OSError("the answer is cut over TCP as well")
        return self.filterAnswers(message)


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What the DNS told about a name.

    @ivar found: payloads of the records that were asked for; empty: the name has none.
    @ivar refusal: why nothing is known, or that there is no such name; L{None} where all went well.
    @ivar alias: where a chain of aliases leads that the answer began and did not end.
    """

    found: tuple[Any, ...] = ()
    refusal: Reply | None = None
    alias: bytes | None = None


class Kept:
    """Answers until they are stale, the oldest given up where there are too many."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._answers: OrderedDict[tuple[bytes, int], tuple[float, Answer]] = OrderedDict()

    def get(self, key: tuple[bytes, int]) -> Answer | None:
        """A fresh answer."""
        until, answer = self._answers.get(key, (0.0, None))
        return answer if until > self._clock.seconds() else None

    def put(self, key: tuple[bytes, int], answer: Answer, seconds: int) -> None:
        """Keep an answer. @param seconds: its time to live."""
        self._answers.pop(key, None)
        self._answers[key] = self._clock.seconds() + min(seconds, KEPT_SECONDS), answer
        if len(self._answers) > KEPT:
            self._answers.popitem(last=False)


@implementer(IExchanges)
class Exchanges:
    """Mail hosts and addresses, from the DNS."""

    def __init__(
        self,
        reactor: IReactorTime,
        name: str,
        ours: Container[str] = (),
        servers: Sequence[tuple[str, int]] | None = None,
        ipv6: bool = True,
        shuffler: random.Random | None = None,
        port: int = 25,
        hosts: str = "/etc/hosts",
        resolver: Asks | None = None,
    ) -> None:
        """
        @param name: our own, for the loop rule.
        @param ours: IP addresses at which we take mail on C{port}, for the same.
        @param servers: name servers and their ports; L{None}: those of /etc/resolv.conf.
        @param ipv6: whether this machine has IPv6: else AAAA is not asked for.
        @param shuffler: for hosts of equal preference; seeded by a test.
        @param port: of mail hosts.
        @param hosts: a hosts(5) file, which goes before the DNS for the address of a host, never for MX.
        @param resolver: instead of C{servers}.
        """
        self._name = name.lower()
        self._ours = ours
        self._kinds = (dns.A, dns.AAAA) if ipv6 else (dns.A,)
        self._shuffler = shuffler or random.Random()
        self._port = port
        self._hosts = FilePath(hosts)
        self._kept = Kept(reactor)
        self._resolver: Asks = resolver or Asker(
            resolv=None if servers else "/etc/resolv.conf",
            servers=list(servers) if servers else None,
            timeout=TIMEOUTS,
            reactor=reactor,
        )

    def hops(self, domain: str) -> "Deferred[tuple[Hop, ...]]":
        """The hosts that take mail for a domain, the best first."""
        return Deferred.fromCoroutine(self._hops(domain))

    def addresses(self, host: str) -> "Deferred[tuple[str, ...]]":
        """The IP addresses of a host, IPv4 first: small sites have their PTR and SPF in order there more often."""
        return succeed((host,)) if _isAddress(host) else Deferred.fromCoroutine(self._addresses(host))

    async def _hops(self, domain: str) -> tuple[Hop, ...]:
        if domain.startswith("["):  # RFC 5321 4.1.3
            return await self._unlooped(domain, [(0, domain[1:-1].removeprefix("IPv6:"))])
        answer = await self._ask(domain.encode("ascii"), dns.MX)
        if answer.refusal:
            raise Refused(answer.refusal)
        exchanges = [(record.preference, _text(record.name.name)) for record in answer.found]
        if exchanges and all(not host for _, host in exchanges):  # RFC 7505
            raise Refused(Reply(556, (f"{domain} takes no mail",), "5.1.10"))
        # RFC 5321 5.1 wants names; an IP address in an MX record is a widespread mistake.
        named = [(preference, host) for preference, host in exchanges if host and not _isAddress(host)]
        if exchanges and not named:
            raise Refused(Reply(550, (f"{domain} has no mail host with a name",), "5.4.4"))
        if not named:
            await self.addresses(domain)  # it is its own mail host, if it is a host
        return await self._unlooped(domain, named or [(0, domain)])

    async def _unlooped(self, domain: str, exchanges: list[tuple[int, str]]) -> tuple[Hop, ...]:
        """In order; without ourselves and all that are no better, or the message might come back (RFC 5321 5.1)."""
        self._shuffler.shuffle(exchanges)
        exchanges.sort(key=lambda exchange: exchange[0])
        del exchanges[EXCHANGES:]  # one answer must not make hundreds of questions
        asked = [Deferred.fromCoroutine(self._isUs(host)) for _, host in exchanges]
        us = [await one for one in asked]
        limit = min((preference for (preference, _), here in zip(exchanges, us, strict=True) if here), default=None)
        better = tuple(Hop(host, self._port) for p, host in exchanges if limit is None or p < limit)
        if not better:
            raise Refused(Reply(550, (f"mail for {domain} loops back to myself",), "5.4.6"))
        return better

    async def _isUs(self, host: str) -> bool:
        if host == self._name or not self._ours:
            return host == self._name
        try:
            return any(address in self._ours for address in await self.addresses(host))
        except Refused:  # unknown; the carrier will find that out for itself
            return False

    async def _addresses(self, host: str) -> tuple[str, ...]:
        try:
            name = domainKey(host).encode("ascii")
        except AddressError as error:
            raise Refused(Reply(550, (f"{host}: {error}",), "5.1.2")) from error
        listed: list[str] = searchFileForAll(self._hosts, name)  # type: ignore[no-untyped-call]
        if listed:
            return tuple(dict.fromkeys(listed))
        asked = [Deferred.fromCoroutine(self._ask(name, kind)) for kind in self._kinds]
        answers = [await one for one in asked]
        found = tuple(
            record.dottedQuad() if record.TYPE == dns.A else _ipv6(record) for a in answers for record in a.found
        )
        if found:
            return found
        refusals = [answer.refusal for answer in answers if answer.refusal]
        none = Reply(550, (f"{host} is no mail host: it has no address",), "5.1.2")
        raise Refused(next((reply for reply in refusals if reply.transient), refusals[0] if refusals else none))

    async def _ask(self, name: bytes, kind: int) -> Answer:
        """What stands under a name; aliases are followed where the name server did not. Fails never."""
        first = name
        for _ in range(ALIASES):
            answer = self._kept.get((name.lower(), kind)) or await self._look(name, kind)
            if answer.refusal or answer.found or answer.alias is None:
                return answer
            name = answer.alias
        return Answer(refusal=_fault(first, "aliases (CNAME) without end"))

    async def _look(self, name: bytes, kind: int) -> Answer:
        """Ask the name servers, and keep what they say."""
        try:
            records, authority, _ = await self._resolver.query(dns.Query(name, kind, dns.IN))
        except DNSNameError as error:
            gone = Reply(550, (f"{_text(name)}: no such domain",), "5.1.2")
            answer, seconds = Answer(refusal=gone), _negative(error.args[0].authority)
        except TimeoutError:
            answer, seconds = Answer(refusal=_fault(name, "no answer from the name servers")), SILENT_SECONDS
        except (DomainError, ConnectError, ConnectionClosed, OSError) as error:
            why = _SAID.get(type(error), str(error) or type(error).__name__)
            answer, seconds = Answer(refusal=_fault(name, why)), SILENT_SECONDS
        else:
            answer = _read(name, kind, records)
            if not answer.found and answer.alias is None and not _proven(authority):
                answer = Answer(refusal=_fault(name, "an answer without records, and without the SOA that proves it"))
            seconds = min(r.ttl for r in records) if records and not answer.refusal else _negative(authority)
        self._kept.put((name.lower(), kind), answer, seconds)
        return answer


_SAID: dict[type[Exception], str] = {
    DNSServerError: "SERVFAIL",
    DNSQueryRefusedError: "REFUSED",
    DNSFormatError: "FORMERR",
}


def _read(name: bytes, kind: int, records: Sequence[Any]) -> Answer:
    """What an answer holds under the name, or under the end of the chain of aliases that it gives."""
    aliases = {r.name.name.lower(): r.payload.name.name.lower() for r in records if r.type == dns.CNAME}
    end = name.lower()
    for _ in range(ALIASES):
        end = aliases.get(end, end)
    found = tuple(r.payload for r in records if r.type == kind and r.name.name.lower() == end)
    return Answer(found, alias=end if end != name.lower() or end in aliases else None)


def _negative(authority: Sequence[Any]) -> int:
    """How long "there is none" holds: RFC 2308 5, from the zone's SOA."""
    told = [min(r.ttl, r.payload.minimum) for r in authority if r.type == dns.SOA]
    return min([*told, NONE_SECONDS]) if told else SILENT_SECONDS


def _proven(authority: Sequence[Any]) -> bool:
    """
    Whether an answer without records says that there are none.

    L{twisted.names} gives the records that it could read, so an answer that was cut, or whose records are malformed,
    looks like one that is empty. RFC 2308 3 and 6 demand the SOA of name servers and of caches.
    """
    return any(r.type == dns.SOA for r in authority)


def _fault(name: bytes, why: str) -> Reply:
    return Reply(451, (f"DNS: {_text(name)}: {why}",), "4.4.3")


def _text(name: bytes) -> str:
    """A name as text, in lower case; what cannot stand in one fails later, where it is looked up."""
    return name.lower().decode("ascii", "backslashreplace")


def _ipv6(record: dns.Record_AAAA) -> str:
    return str(ipaddress.IPv6Address(record.address))


def _isAddress(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
