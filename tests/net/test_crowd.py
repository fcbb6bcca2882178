"""How many may be connected, and who gives way."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from epost.mail.reply import Reply
from epost.net.crowd import Crowd


class Guest:
    """A connection that records what it is told."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.transport = self
        self.cut = False

    def leave(self, reply: Reply) -> None:
        self.told.append(reply.code)

    def abortConnection(self) -> None:
        self.cut = True


class CrowdTests(SynchronousTestCase):
    """L{Crowd} keeps the limits."""

    def arrive(self, crowd: Crowd, address: str = "192.0.2.1", exempt: bool = False) -> tuple[Guest, Reply | None]:
        guest = Guest()
        return guest, crowd.arrived(guest, address, exempt)

    def test_longestIdleGivesWay(self) -> None:
        """When all places are taken the one that has been silent longest is told 421, and the new one is let in."""
        crowd = Crowd("mx.test", connections=2, perAddress=9)
        first, _ = self.arrive(crowd)
        second, _ = self.arrive(crowd)
        crowd.heard(first)
        third, refusal = self.arrive(crowd)
        self.assertIsNone(refusal)
        self.assertEqual((first.told, second.told, third.told), ([], [421], []))

    def test_aVictimIsToldOnce(self) -> None:
        """Who was told to leave and has not left yet is not asked again: the next in line is."""
        crowd = Crowd("mx.test", connections=2, perAddress=9)
        guests = [self.arrive(crowd)[0] for _ in range(4)]
        self.assertEqual([guest.told for guest in guests], [[421], [421], [], []])

    def test_aMessageIsNeverCutShort(self) -> None:
        """Who hands over a message does not give way; where all do, the new one is refused."""
        crowd = Crowd("mx.test", connections=1, perAddress=9)
        sending, _ = self.arrive(crowd)
        crowd.working(sending)
        _, refusal = self.arrive(crowd)
        assert refusal is not None
        self.assertEqual((refusal.code, refusal.enhanced, sending.told), (421, "4.3.2", []))

    def test_afterItsMessageItMay(self) -> None:
        """When the message is done its connection is one of the idle again."""
        crowd = Crowd("mx.test", connections=1, perAddress=9)
        sending, _ = self.arrive(crowd)
        crowd.working(sending)
        crowd.idle(sending)
        _, refusal = self.arrive(crowd)
        self.assertIsNone(refusal)
        self.assertEqual(sending.told, [421])

    def test_limitOfOneAddress(self) -> None:
        """One address has its own limit, which gives way when one of its connections is gone."""
        crowd = Crowd("mx.test", connections=9, perAddress=1)
        first, _ = self.arrive(crowd)
        second, refusal = self.arrive(crowd)
        assert refusal is not None
        self.assertEqual(refusal.code, 421)
        self.assertIsNone(self.arrive(crowd, "192.0.2.2")[1])
        crowd.left(second, "192.0.2.1")
        crowd.left(first, "192.0.2.1")
        self.assertIsNone(self.arrive(crowd)[1])

    def test_limitOfIPv6(self) -> None:
        """Who has one IPv6 address has a /64 full of them (RFC 6177), which share one limit."""
        crowd = Crowd("mx.test", connections=9, perAddress=1)
        first, _ = self.arrive(crowd, "2001:db8::1")
        second, refusal = self.arrive(crowd, "2001:db8::2")
        self.assertIsNotNone(refusal)
        self.assertIsNone(self.arrive(crowd, "2001:db8:0:1::1")[1])
        crowd.left(second, "2001:db8::2")
        crowd.left(first, "2001:db8::1")
        self.assertIsNone(self.arrive(crowd, "2001:db8::2")[1])

    def test_limitOfASite(self) -> None:
        """Whose /48 is full of networks has four times the limit of one in them; the next /48 has its own."""
        crowd = Crowd("mx.test", connections=99, perAddress=1)
        guests = [self.arrive(crowd, f"2001:db8:1:{number}::1") for number in range(5)]
        self.assertEqual([refusal is None for _, refusal in guests], [True] * 4 + [False])
        self.assertIsNone(self.arrive(crowd, "2001:db8:2::1")[1])
        crowd.left(guests[4][0], "2001:db8:1:4::1")
        crowd.left(guests[0][0], "2001:db8:1::1")
        self.assertIsNone(self.arrive(crowd, "2001:db8:1:9::1")[1])

    def test_exemptMachine(self) -> None:
        """A machine of the tables has no limit of its own."""
        crowd = Crowd("mx.test", connections=9, perAddress=1)
        self.arrive(crowd, exempt=True)
        self.assertIsNone(self.arrive(crowd, exempt=True)[1])

    def test_keptPlaces(self) -> None:
        """Strangers who all hand over a message leave a tenth of the places to machines of the tables."""
        crowd = Crowd("mx.test", connections=20, perAddress=99)
        for _ in range(18):
            guest, refusal = self.arrive(crowd)
            self.assertIsNone(refusal)
            crowd.working(guest)
        stranger, refusal = self.arrive(crowd)
        self.assertIsNotNone(refusal)
        crowd.left(stranger, "192.0.2.1")
        told = [self.arrive(crowd, "192.0.2.2", exempt=True)[1] for _ in range(2)]
        self.assertEqual(told, [None, None])

    def test_disperse(self) -> None:
        """A daemon that stops tells everybody, waits for those who are busy, and cuts who stays."""
        crowd, clock = Crowd("mx.test", connections=9, perAddress=9), Clock()
        idle, _ = self.arrive(crowd)
        busy, _ = self.arrive(crowd)
        crowd.working(busy)
        gone = crowd.disperse(clock, 10)
        self.assertEqual((idle.told, busy.told), ([421], [421]))
        crowd.left(idle, "192.0.2.1")
        self.assertNoResult(gone)
        clock.advance(10)
        self.assertTrue(busy.cut)
        crowd.left(busy, "192.0.2.1")
        self.successResultOf(gone)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_disperseNobody(self) -> None:
        """Where nobody is connected nothing is waited for, and who comes now is refused."""
        crowd, clock = Crowd("mx.test", connections=9, perAddress=9), Clock()
        self.successResultOf(crowd.disperse(clock, 10))
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertIsNotNone(self.arrive(crowd)[1])
