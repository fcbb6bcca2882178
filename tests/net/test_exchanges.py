"""The DNS as a mailer sees it, against a real server on a loopback port, with every kind of answer."""

import random

from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs, formatEventAsClassicLogText
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from epost.interfaces import IExchanges
from epost.mail.reply import Refused
from epost.mail.route import Hop
from epost.net.exchanges import EXCHANGES, NONE_SECONDS, SILENT_SECONDS, Asker, Exchanges
from tests.net.dns import Odd, Zone


class ExchangesTests(TestCase):
    """L{Exchanges} finds mail hosts and addresses."""

    def setUp(self) -> None:
        self.zone = Zone()
        self.server, stop = self.zone.listen(reactor)
        self.addCleanup(stop)
        self.clock = Clock()
        self.resolver = Asker(servers=[self.server], timeout=(0.1,), reactor=reactor)
        self.addCleanup(self.hangUp)
        self.hosts = self.mktemp()
        with open(self.hosts, "w") as file:
            file.write("127.0.0.1 localhost\n::1 localhost\n192.0.2.77 relay  # ours\n")
        self.exchanges = self.make()

    def hangUp(self) -> None:
        """Let go of the connection to the name server that the resolver keeps."""
        for connection in self.resolver.connections:
            connection.transport.abortConnection()

    def make(self, seed: int = 1, **more) -> Exchanges:
        """Exchanges of ours."""
        return Exchanges(
            self.clock, "mx.test.jp", shuffler=random.Random(seed), hosts=self.hosts, resolver=self.resolver, **more
        )

    async def refused(self, waited) -> tuple[int, str]:
        """Code and enhanced code of a refusal."""
        refusal = await self.assertFailure(waited, Refused)
        return refusal.reply.code, refusal.reply.enhanced

    def test_interface(self) -> None:
        """It plays its role."""
        verifyObject(IExchanges, self.exchanges)

    async def test_preference(self) -> None:
        """The best first; equal ones in any order."""
        self.zone.mx("example.jp", (20, "c.example.jp"), (10, "a.example.jp"), (10, "b.example.jp"))
        orders = {tuple(hop.host[0] for hop in await self.make(seed).hops("example.jp")) for seed in range(20)}
        self.assertEqual(orders, {("a", "b", "c"), ("b", "a", "c")})

    async def test_final(self) -> None:
        """No such domain, a null MX, and a name with neither mail host nor address are final."""
        self.zone.mx("null.jp", (0, ""))
        self.zone.add("empty.jp")
        self.zone.mx("numbers.jp", (10, "192.0.2.1"))
        for domain, refusal in (
            ("gone.jp", (550, "5.1.2")),
            ("null.jp", (556, "5.1.10")),
            ("empty.jp", (550, "5.1.2")),
            ("numbers.jp", (550, "5.4.4")),
        ):
            self.assertEqual(await self.refused(self.exchanges.hops(domain)), refusal, domain)
        self.assertEqual(await self.refused(self.exchanges.addresses("gone.jp")), (550, "5.1.2"))

    async def test_faults(self) -> None:
        """What a name server cannot tell is 4xx, for MX and for addresses; so is what was cut, or has no proof."""
        for what in Odd:
            self.zone.odd("odd.jp", what)
            self.assertEqual(await self.refused(self.exchanges.hops("odd.jp")), (451, "4.4.3"), what)
            self.assertEqual(await self.refused(self.exchanges.addresses("odd.jp")), (451, "4.4.3"), what)
            self.clock.advance(SILENT_SECONDS)

    async def test_own(self) -> None:
        """A domain without MX is its own mail host, also with IPv6 alone."""
        self.zone.a("four.jp", "192.0.2.1")
        self.zone.a("six.jp", "2001:db8::1")
        self.assertEqual(await self.exchanges.hops("four.jp"), (Hop("four.jp"),))
        self.assertEqual(await self.exchanges.hops("six.jp"), (Hop("six.jp"),))

    async def test_addresses(self) -> None:
        """Both kinds, IPv4 first; AAAA is not asked for where there is no IPv6."""
        self.zone.a("both.jp", "2001:db8::1", "192.0.2.1")
        self.assertEqual(await self.exchanges.addresses("both.jp"), ("192.0.2.1", "2001:db8::1"))
        self.assertEqual(await self.make(ipv6=False).addresses("both.jp"), ("192.0.2.1",))
        self.assertEqual(await self.exchanges.addresses("192.0.2.9"), ("192.0.2.9",))
        self.assertEqual(await self.exchanges.addresses("2001:db8::9"), ("2001:db8::9",))

    async def test_hostsFile(self) -> None:
        """The hosts file goes before the DNS."""
        self.assertEqual(await self.exchanges.addresses("localhost"), ("127.0.0.1", "::1"))
        self.assertEqual(await self.exchanges.addresses("RELAY"), ("192.0.2.77",))
        self.assertEqual(self.zone.asked, [])

    async def test_literal(self) -> None:
        """An address literal needs no DNS."""
        self.assertEqual(await self.exchanges.hops("[192.0.2.1]"), (Hop("192.0.2.1"),))
        self.assertEqual(await self.exchanges.hops("[IPv6:2001:db8::1]"), (Hop("2001:db8::1"),))

    async def test_notAName(self) -> None:
        """A host that can be no name is none."""
        for host in ("a..b", "a b", "x" * 64 + ".jp", "ü" * 80):
            self.assertEqual(await self.refused(self.exchanges.addresses(host)), (550, "5.1.2"))

    async def test_aliases(self) -> None:
        """Aliases are followed, one by one where the name server does not; a circle is a fault."""
        self.zone.cname("www.example.jp", "example.jp")
        self.zone.mx("example.jp", (10, "mail.example.jp"))
        self.zone.cname("mail.example.jp", "host.example.jp")
        self.zone.a("host.example.jp", "192.0.2.1")
        self.zone.cname("a.jp", "b.jp")
        self.zone.cname("b.jp", "a.jp")
        self.zone.cname("c.jp", "c.jp")
        self.assertEqual(await self.exchanges.hops("www.example.jp"), (Hop("mail.example.jp"),))
        self.assertEqual(await self.exchanges.addresses("mail.example.jp"), ("192.0.2.1",))
        for circle in ("a.jp", "c.jp"):
            self.assertEqual(await self.refused(self.exchanges.hops(circle)), (451, "4.4.3"))

    async def test_truncated(self) -> None:
        """An answer that was cut is asked for again over TCP."""
        self.zone.truncate = True
        self.zone.mx("long.jp", *[(10, f"host{number}.long.jp") for number in range(60)])
        self.assertEqual(len(await self.exchanges.hops("long.jp")), EXCHANGES)

    async def test_truncatedForEver(self) -> None:
        """An answer that is cut over TCP as well is a fault, and no circle."""
        self.zone.never = True
        waited = self.exchanges.hops("long.jp").addTimeout(2, reactor)
        self.assertEqual(await self.refused(waited), (451, "4.4.3"))
        self.assertEqual(len(self.zone.asked), 2)

    async def test_many(self) -> None:
        """However many mail hosts a domain publishes, the best are looked at; they make no more questions than that."""
        self.zone.mx("many.jp", *[(number, f"h{number}.many.jp") for number in range(40, 0, -1)])
        hops = await self.make(ours={"192.0.2.3"}).hops("many.jp")
        self.assertEqual([hop.host for hop in hops], [f"h{number}.many.jp" for number in range(1, EXCHANGES + 1)])
        self.assertEqual(len(self.zone.asked), 1 + 2 * EXCHANGES)

    async def test_quiet(self) -> None:
        """A question has no line in the daemon's log, neither when its port opens nor when it closes."""
        self.zone.mx("example.jp", (10, "a.jp"))
        with capturedLogs() as events:
            await self.exchanges.hops("example.jp")
            await deferLater(reactor, 0)  # the port closes a moment later
        self.assertEqual([text for text in map(formatEventAsClassicLogText, events) if text], [])
        self.assertEqual(len([event for event in events if "Closed" in str(event)]), 1)

    async def test_loop(self) -> None:
        """Where we are among the mail hosts, only better ones are left; where none is, mail would come back to us."""
        self.zone.mx("we.jp", (10, "a.jp"), (20, "MX.test.jp"), (20, "b.jp"), (30, "c.jp"))
        self.zone.mx("us.jp", (10, "mx.test.jp"), (20, "a.jp"))
        self.zone.mx("address.jp", (10, "a.jp"), (20, "c.jp"))
        self.zone.a("c.jp", "192.0.2.3")
        self.zone.a("self.jp", "192.0.2.3")
        self.assertEqual(await self.exchanges.hops("we.jp"), (Hop("a.jp"),))
        self.assertEqual(await self.refused(self.exchanges.hops("us.jp")), (550, "5.4.6"))
        listening = self.make(ours={"192.0.2.3"})
        self.assertEqual(await listening.hops("address.jp"), (Hop("a.jp"),))
        for domain in ("self.jp", "[192.0.2.3]"):
            self.assertEqual(await self.refused(listening.hops(domain)), (550, "5.4.6"))

    async def test_kept(self) -> None:
        """Answers are kept for their time to live, that there is none as well, a fault only for a moment."""
        self.zone.mx("example.jp", (10, "a.jp"))
        self.zone.odd("odd.jp", Odd.SERVFAIL)
        names = ("example.jp", "gone.jp", "odd.jp")
        for passed, asked in ((0, names), (0, ()), (SILENT_SECONDS, ("odd.jp",)), (300, names)):
            self.clock.advance(passed)
            del self.zone.asked[:]
            for name in names:
                await self.exchanges.hops(name).addErrback(lambda failure: failure.trap(Refused))
            self.assertEqual(self.zone.asked, [f"MX {name}" for name in asked])

    async def test_negativeBound(self) -> None:
        """A zone cannot make us believe for days that a name is not there."""
        self.zone._negative = 10 * NONE_SECONDS
        await self.refused(self.exchanges.hops("gone.jp"))
        self.clock.advance(NONE_SECONDS)
        self.zone.mx("gone.jp", (10, "a.jp"))
        self.assertEqual(await self.exchanges.hops("gone.jp"), (Hop("a.jp"),))
