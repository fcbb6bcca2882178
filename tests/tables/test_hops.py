"""Tests of L{epost.tables.hops}."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.fault import Fault
from epost.mail.route import Held, Hop, Onward
from epost.tables.hops import HopTable, readHops


def read(text: str) -> tuple[HopTable, list[Fault], list[Fault]]:
    """Table, faults, notes."""
    faults: list[Fault] = []
    notes: list[Fault] = []
    return readHops("gateway.dat", text.encode(), faults, notes), faults, notes


class HopTableTests(SynchronousTestCase):
    """gateway.dat tells where a domain's mail goes."""

    def assertHops(self, text: str, domain: str, *hops: Hop) -> None:
        """A domain goes to some hosts, in order."""
        found, faults, _ = read(text)
        self.assertEqual(faults, [])
        destination = found.find(domain)
        assert destination is not None
        route = destination.route
        assert isinstance(route, Onward)
        self.assertEqual((route.hops, route.forwards), (hops, True))

    def test_seed(self) -> None:
        """The seed's line; the port is 25 if missing; blanks and case do not matter."""
        self.assertHops("test.jp, 192.168.0.102, 25", "test.jp", Hop("192.168.0.102", 25))
        self.assertHops("  TEST.jp,Mx.Example  ", "test.jp", Hop("mx.example", 25))

    def test_ipv6(self) -> None:
        """IPv6 stands with or without brackets, with or without port."""
        for host in ("[2001:DB8::1]", "2001:db8:0::1"):
            self.assertHops(f"a.jp, {host}", "a.jp", Hop("2001:db8::1", 25))
            self.assertHops(f"a.jp, {host}, 2525", "a.jp", Hop("2001:db8::1", 2525))

    def test_severalHosts(self) -> None:
        """Several lines of one domain are hosts to try in order, whatever stands between them."""
        self.assertHops("a.jp, h1\nb.jp, h9\nA.jp, h2", "a.jp", Hop("h1"), Hop("h2"))

    def test_exactBeforeWildcard(self) -> None:
        """An exact domain beats a pattern, a longer pattern a shorter, wherever they stand."""
        text = "*, all\n*.test.jp, wide\n*.a.test.jp, narrow\nb.a.test.jp, exact"
        self.assertHops(text, "b.a.test.jp", Hop("exact"))
        self.assertHops(text, "c.a.test.jp", Hop("narrow"))
        self.assertHops(text, "test.jp", Hop("all"))

    def test_hold(self) -> None:
        """A line with hold holds the domain until it goes, though hosts stand there too."""
        found, faults, _ = read("hold.example, h1\nhold.example, HOLD")
        self.assertEqual(faults, [])
        destination = found.find("hold.example")
        assert destination is not None
        self.assertEqual(destination.route, Held('gateway.dat:2 "hold.example, HOLD"'))

    def test_relayDomains(self) -> None:
        """All domains of the table are relay domains but * alone and * with a top-level domain, which a note says."""
        found, _, notes = read("*, h\n*.jp, h\n*jp, h\ntest.*, h\n*.test.com, h\nlocal, h")
        self.assertEqual([note.line for note in notes], [1, 2, 3, 4])
        self.assertEqual(
            [d for d in ("x.org", "x.jp", "test.org", "a.test.com", "local") if found.relay(d)], ["a.test.com", "local"]
        )
        self.assertIsNotNone(found.find("x.org"))

    def test_machines(self) -> None:
        """The addresses of next hops are known; names are not looked up."""
        self.assertEqual(read("a.jp, 10.0.0.1\na.jp, ::1\na.jp, mx.a.jp\nb.jp, hold")[0].machines, {"10.0.0.1", "::1"})

    def test_allFaults(self) -> None:
        """Every fault is told with its line."""
        _, faults, _ = read(
            "test.jp\n, h\na.jp, h, 0\na.jp, h, smtp\na.jp, 300.1.1.1\na.jp, [::x]\na.jp, hold, 25x\na,b,1,2"
        )
        self.assertEqual(sorted({fault.line for fault in faults}), list(range(1, 9)))
