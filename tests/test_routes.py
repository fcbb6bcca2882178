"""Tests of L{epost.routes}."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from epost.interfaces import IRouter
from epost.mail.address import parseAddress, postmaster
from epost.mail.fault import Fault
from epost.mail.route import Held, Hop, Local, Nowhere, Onward, Route
from epost.routes import Router
from epost.smtp import wording
from epost.tables.building import build
from epost.tables.directory import Ground

GATEWAY = Hop("192.168.0.103", 25)


def router(hops: str = "", aliases: str = "", accounts: str = "user1\tpass1234\n", **ground: object) -> Router:
    """A back-end with the account user1@test.jp that forwards to the gateway."""
    faults: list[Fault] = []
    texts = {
        "gateway": ("gateway.dat", hops.encode()),
        "accounts": ("accounts.dat", accounts.encode()),
        "aliases": ("aliases.dat", aliases.encode()),
    }
    known = {"local": ("test.jp",), "mailboxes": True, "gateway": GATEWAY} | ground
    there = build(Ground("x.toml", "mx.test.jp", **known), texts, faults, [])  # type: ignore[arg-type]
    assert not faults, faults
    return Router(lambda: there)


def nowhere(address: str) -> Nowhere:
    """No such user."""
    return Nowhere(wording.unknownUser(parseAddress(address)))


class RouteTests(SynchronousTestCase):
    """The order of spec 4."""

    def assertRoute(self, there: Router, address: str, expected: Route) -> None:
        """One address goes to one place."""
        self.assertEqual(there.route(parseAddress(address)), expected)

    def test_interface(self) -> None:
        """It is an IRouter."""
        verifyObject(IRouter, router())

    def test_mailbox(self) -> None:
        """An account goes into its mailbox, whatever gateway.dat says, and however it is written."""
        self.assertRoute(router("test.jp, elsewhere"), "USER1@Test.jp", Local("user1", "test.jp"))

    def test_spelling(self) -> None:
        """Who is nobody is told so as it was written, whoever asked before."""
        there = router()
        for address in ("Nobody@test.jp", "nobody@test.jp", "Nobody@test.jp"):
            found = there.route(parseAddress(address))
            assert isinstance(found, Nowhere)
            self.assertIn(address, found.reply.lines[0])

    def test_table(self) -> None:
        """gateway.dat goes before the setting, and a refusal there is tried again."""
        there = router("a.jp, h1\na.jp, h2, 26\nheld.jp, hold")
        self.assertRoute(there, "x@a.jp", Onward("h1:25, h2:26", (Hop("h1", 25), Hop("h2", 26)), forwards=True))
        self.assertRoute(there, "x@held.jp", Held('gateway.dat:3 "held.jp, hold"'))

    def test_splitDomain(self) -> None:
        """Addresses of a local domain that have no mailbox here go on where gateway.dat names a host."""
        self.assertRoute(router("test.jp, h1"), "x@test.jp", Onward("h1:25", (Hop("h1"),), forwards=True))

    def test_unknown(self) -> None:
        """An address of a local domain that nobody has goes nowhere, not to the gateway."""
        self.assertRoute(router(), "x@test.jp", nowhere("x@test.jp"))
        self.assertRoute(router(aliases="*@test.jp\t*@test.jp\n"), "x@test.jp", nowhere("x@test.jp"))

    def test_setting(self) -> None:
        """Everything else goes to SMTPゲートウェイ, address literals too."""
        for address in ("x@outside.jp", "x@[10.0.0.1]"):
            self.assertRoute(router(), address, Onward("192.168.0.103:25", (GATEWAY,), forwards=True))

    def test_exchanges(self) -> None:
        """Without the setting the domain's exchanges are looked up, and a 5xx there is final; a literal is its host."""
        direct = router(gateway=None)
        self.assertRoute(direct, "x@Outside.jp", Onward("outside.jp"))
        self.assertRoute(direct, "x@[10.0.0.1]", Onward("[10.0.0.1]", (Hop("10.0.0.1"),)))
        self.assertRoute(direct, "x@[IPv6:2001:DB8:0::1]", Onward("[IPv6:2001:db8::1]", (Hop("2001:db8::1"),)))

    def test_ourLiteral(self) -> None:
        """An address literal that names us is a mailbox here."""
        there = router(listening=frozenset({Hop("10.0.0.1", 25)}))
        self.assertRoute(there, "user1@[10.0.0.1]", Local("user1", "test.jp"))

    def test_dummyDomain(self) -> None:
        """The seed's gateway: another, dummy domain with a dummy account in it changes nothing for relay domains."""
        there = router("test.jp, h1", "", "dummy\tx\n", local=("dummy.test",), mailboxes=False, gateway=None)
        self.assertRoute(there, "x@test.jp", Onward("h1:25", (Hop("h1"),), forwards=True))
        self.assertRoute(there, "x@outside.jp", Onward("outside.jp"))

    def test_wildcardAlias(self) -> None:
        """The gateway with *@test.jp leading to itself: the domain is local, and its mail goes to the back-end."""
        there = router("test.jp, h1", "*@test.jp\t*@test.jp\n", "", mailboxes=False, gateway=None)
        self.assertEqual(there.expand(parseAddress("x@test.jp")), (parseAddress("x@test.jp"),))
        self.assertRoute(there, "x@test.jp", Onward("h1:25", (Hop("h1"),), forwards=True))

    def test_forwardsAll(self) -> None:
        """Without mailboxes the mail of local domains goes to SMTPゲートウェイ, of users that exist."""
        there = router(mailboxes=False)
        self.assertRoute(there, "user1@test.jp", Onward("192.168.0.103:25", (GATEWAY,), forwards=True))
        self.assertRoute(there, "x@test.jp", nowhere("x@test.jp"))
        self.assertRoute(router(mailboxes=False, gateway=None), "user1@test.jp", nowhere("user1@test.jp"))

    def test_postmaster(self) -> None:
        """Bare postmaster leads to whom the setting names; without one it goes nowhere."""
        there = router(postmaster=parseAddress("user1@test.jp"))
        self.assertEqual([there.route(a) for a in there.expand(postmaster())], [Local("user1", "test.jp")])
        self.assertIsInstance(router().route(postmaster()), Nowhere)
