"""
A DNS server for tests, on UDP and TCP of a loopback port, with every kind of answer.

A L{Zone} is told what stands under a name; a name that it was told nothing about is NXDOMAIN. An answer is a list of
records, or one of the L{Odd} things that name servers do.
"""

import enum
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.names import dns
from twisted.names.server import DNSServerFactory

Record = tuple[str, Any]


class Odd(enum.Enum):
    """What a name server can do instead of answering."""

    SERVFAIL = dns.ESERVER
    REFUSED = dns.EREFUSED
    SILENCE = "silence"
    GARBAGE = "garbage"
    EMPTY = "no records, no SOA"
    CUT = "cut within its first record"
    MALFORMED = "a record that is shorter than its kind"


class Zone(DNSServerFactory):
    """
    What the server knows.

    @ivar asked: every question so far, as C{"MX example.jp"}.
    @ivar truncate: whether answers over UDP are cut, so that the client must come over TCP.
    @ivar never: whether those over TCP are as well.
    """

    noisy = False

    def __init__(self, ttl: int = 300, negative: int = 300) -> None:
        super().__init__(verbose=0)
        self.asked: list[str] = []
        self.truncate = False
        self.never = False
        self._ttl = ttl
        self._negative = negative
        self._names: dict[str, list[Record] | Odd] = {}

    def add(self, name: str, *records: Any) -> None:
        """Let records stand under a name; none: it is there and empty."""
        known = self._names.setdefault(name, [])
        assert isinstance(known, list)
        known += [(name, record) for record in records]

    def mx(self, name: str, *exchanges: tuple[int, str]) -> None:
        """Let mail hosts stand under a name."""
        self.add(name, *[dns.Record_MX(preference, host, self._ttl) for preference, host in exchanges])

    def a(self, name: str, *addresses: str) -> None:
        """Let addresses stand under a name, of both kinds."""
        kinds = {True: dns.Record_AAAA, False: dns.Record_A}
        self.add(name, *[kinds[":" in address](address, self._ttl) for address in addresses])

    def cname(self, name: str, target: str) -> None:
        """Let a name be an alias."""
        self.add(name, dns.Record_CNAME(target, self._ttl))

    def odd(self, name: str, what: Odd) -> None:
        """Let questions about a name fail."""
        self._names[name] = what

    def listen(self, reactor: Any) -> "tuple[tuple[str, int], Any]":
        """
        Serve on a free loopback port.

        @return: address and port, and what ends it: a callable that gives a Deferred.
        """
        tcp = reactor.listenTCP(0, self, interface="127.0.0.1")
        number = tcp.getHost().port
        udp = reactor.listenUDP(number, dns.DNSDatagramProtocol(self), interface="127.0.0.1")

        def stop() -> Deferred[Any]:
            for connection in list(self.connections):
                connection.transport.abortConnection()
            return DeferredList([tcp.stopListening(), udp.stopListening()])

        return ("127.0.0.1", number), stop

    def handleQuery(self, message: Any, protocol: Any, address: Any) -> None:
        """A question."""
        query = message.queries[0]
        name = query.name.name.decode().lower()
        self.asked.append(f"{dns.QUERY_TYPES[query.type]} {name}")
        known = self._names.get(name)
        if known is Odd.SILENCE:
            return
        if known is Odd.GARBAGE:
            protocol.transport.write(message.toStr()[:7], address)
            return
        message.answer, message.recAv = 1, 1
        if known in (Odd.CUT, Odd.MALFORMED):
            short = dns.UnknownRecord(b"\x00", self._ttl)
            message.answers = [dns.RRHeader(name, query.type, dns.IN, self._ttl, short)]
            protocol.transport.write(message.toStr()[: -4 if known is Odd.CUT else None], address)
            return
        if self.never or (address is not None and self.truncate):
            message.trunc = 1
        elif known is None:
            message.rCode = dns.ENAME
            message.authority = [self._soa()]
        elif known is Odd.EMPTY:
            pass
        elif isinstance(known, Odd):
            message.rCode = known.value
        else:
            message.answers = [
                dns.RRHeader(owner, record.TYPE, dns.IN, self._ttl, record)
                for owner, record in known
                if record.TYPE in (query.type, dns.CNAME)
            ]
            message.authority = [] if message.answers else [self._soa()]
        self.sendReply(protocol, message, address)

    def _soa(self) -> dns.RRHeader:
        soa = dns.Record_SOA("ns.test", "root.test", 1, 1, 1, 1, self._negative, self._negative)
        return dns.RRHeader("test", dns.SOA, dns.IN, self._negative, soa)
