"""Tests of L{epost.login.lockout}: who may not try now."""

from collections.abc import Callable
from ipaddress import ip_network

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from epost.login import lockout, memory, places
from epost.login.lockout import Lock, Lockout, owner
from epost.storage import hints
from epost.storage.hints import Hints
from tests.world.disk import World
from tests.world.story import Turns

USER = "user1@test.jp"
HERE = "192.0.2.1"
THERE = "198.51.100.7"


class LockoutTests(SynchronousTestCase):
    """Three failures of a pair lock it, six of a network, nine of an account; for 100 seconds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000000)
        self.lockout = Lockout(self.clock.seconds, 3, 6, 9, 100.0, (ip_network("203.0.113.0/24"),))

    def guess(self, times: int, address: str = HERE, name: str = USER) -> list[Lock]:
        """Some failures. @return: what they have locked."""
        return [lock for _ in range(times) for lock in self.lockout.failed(address, name)]

    def isLocked(self, address: str = HERE, name: str = USER) -> bool:
        """Whether an account is locked for an address."""
        return bool(self.lockout.account(address, name))

    def test_pair(self) -> None:
        """Guessing at one account locks it for that network, once, and touches nobody else."""
        self.assertEqual(self.guess(2), [])
        self.assertFalse(self.isLocked())
        self.assertEqual(self.guess(1), [Lock(USER, HERE, 1000100.0)])
        self.assertTrue(self.isLocked())
        self.assertFalse(self.isLocked(address=THERE))
        self.assertFalse(self.isLocked(name="user2@test.jp"))
        self.assertEqual(self.lockout.network(HERE), "")
        self.assertEqual(self.guess(2), [])

    def test_ends(self) -> None:
        """A lock ends after its time, whatever is tried meanwhile, and the count begins at nothing."""
        self.guess(3)
        self.clock.advance(99)
        self.guess(2)
        self.assertTrue(self.isLocked())
        self.clock.advance(1)
        self.assertFalse(self.isLocked())
        self.assertEqual(self.lockout.locks(), [])
        self.guess(2)
        self.assertFalse(self.isLocked())

    def test_forgotten(self) -> None:
        """Failures that are far apart are not counted together."""
        self.guess(2)
        self.clock.advance(100)
        self.guess(2)
        self.assertFalse(self.isLocked())

    def test_clockWasAhead(self) -> None:
        """What happened while the clock was a year ahead locks nobody for a year."""
        self.clock.advance(31536000)
        self.guess(3)
        self.assertTrue(self.isLocked())
        self.clock.rightNow -= 31536000
        self.assertFalse(self.isLocked())
        self.assertEqual(self.lockout.locks(), [])
        self.guess(3)
        self.assertTrue(self.isLocked())

    def test_network(self) -> None:
        """Guessing at many accounts locks the network, also for names that nobody gave."""
        for number in range(5):
            self.guess(1, name=f"user{number}@test.jp")
        self.assertEqual(self.lockout.network(HERE), "")
        self.guess(1, name="")
        self.assertIn("this address", self.lockout.network(HERE))
        self.assertEqual(self.lockout.network(THERE), "")

    def test_exempt(self) -> None:
        """A webmail's address is not locked as such; an account is, from there."""
        for number in range(20):
            self.guess(1, "203.0.113.5", f"user{number}@test.jp")
        self.assertEqual(self.lockout.network("203.0.113.5"), "")
        self.guess(3, "203.0.113.5")
        self.assertTrue(self.isLocked("203.0.113.5"))

    def test_exemptAmongOthers(self) -> None:
        """Nor is it when its neighbours are: those of its /64, and those of its /48."""
        self.lockout = Lockout(self.clock.seconds, 3, 6, 9, 100.0, (ip_network("2001:db8::5/128"),))
        for number in range(6):
            self.guess(1, "2001:db8::6", f"user{number}@test.jp")
        self.assertTrue(self.lockout.network("2001:db8::7"))
        self.assertEqual(self.lockout.network("2001:db8::5"), "")
        for number in range(30):
            self.guess(1, f"2001:db8:0:{number:x}::6", f"user{number}@test.jp")
        self.assertTrue(self.isLocked("2001:db8::7"))
        self.assertFalse(self.isLocked("2001:db8::5"))

    def test_account(self) -> None:
        """Guessing from many networks locks an account for all but those from which its owner comes."""
        self.lockout.succeeded(THERE, USER)
        for number in range(9):
            self.guess(1, f"192.0.2.{number}")
        self.assertTrue(self.isLocked("192.0.2.200"))
        self.assertFalse(self.isLocked(THERE))
        self.assertFalse(self.isLocked("192.0.2.200", "user2@test.jp"))
        self.clock.advance(100)
        self.assertFalse(self.isLocked("192.0.2.200"))

    def test_ownersNetworkIsForgotten(self) -> None:
        """A network from which the owner has not come for a month is one as any other."""
        self.lockout.succeeded(THERE, USER)
        self.clock.advance(places.KNOWN)
        for number in range(9):
            self.guess(1, f"192.0.2.{number}")
        self.assertTrue(self.isLocked(THERE))

    def remembering(self) -> Callable[[], None]:
        """A lockout with hints. @return: what starts the daemon again, which its files alone survive."""
        world, turns = World(), Turns()

        def start() -> None:
            self.hints = Hints(world, "/work", self.clock, turns.callInThread, turns.callFromThread)
            self.lockout = Lockout(self.clock.seconds, 3, 6, 9, 100.0, hints=self.hints)

        def restart() -> None:
            self.hints.release()
            turns.run()
            start()

        start()
        return restart

    def test_ownersNetworkOverARestart(self) -> None:
        """Who guesses as soon as the daemon starts does not get before the owner."""
        restart = self.remembering()
        self.lockout.succeeded(THERE, USER)
        restart()
        for number in range(9):
            self.guess(1, f"192.0.2.{number}")
        self.assertTrue(self.isLocked("192.0.2.200"))
        self.assertFalse(self.isLocked(THERE))
        self.assertFalse(self.lockout.known(THERE, "user2@test.jp"))
        self.clock.advance(places.KNOWN)
        self.assertFalse(self.lockout.known(THERE, USER))

    def test_placesOfOthers(self) -> None:
        """Who has one password, and as many networks as he likes, makes nobody's places but his own be forgotten."""
        restart = self.remembering()
        self.patch(memory, "KEPT", 10)
        self.patch(hints, "FACTS", 10)
        self.lockout.succeeded(THERE, USER)
        for number in range(200):
            self.lockout.succeeded(f"192.0.2.{number}", "thief@test.jp")
        for _ in range(2):
            self.assertTrue(self.lockout.known(THERE, USER))
            known = [self.lockout.known(f"192.0.2.{number}", "thief@test.jp") for number in range(200)]
            self.assertEqual(known, [False] * (200 - places.PLACES) + [True] * places.PLACES)
            restart()

    def test_placesThatAreUsed(self) -> None:
        """The place that has not been used longest goes, over a restart too: who works at home is known at home."""
        restart = self.remembering()
        for number in range(40):
            self.lockout.succeeded(THERE, USER)
            self.lockout.succeeded(f"2001:db8:0:{number:x}::1", USER)
            self.clock.advance(86400)
            if number % 7 == 0:
                restart()
        self.assertTrue(self.lockout.known(THERE, USER))
        self.assertTrue(self.lockout.known("2001:db8:0:27::9", USER))
        self.assertFalse(self.lockout.known("2001:db8:0:1::1", USER))

    def test_placeThatIsUsedAgain(self) -> None:
        """A place counts from its last use, not from its first."""
        addresses = [f"192.0.2.{number}" for number in range(places.PLACES + 2)]
        for address in addresses[: places.PLACES]:
            self.lockout.succeeded(address, USER)
        self.clock.advance(86400)
        self.lockout.succeeded(addresses[1], USER)
        for address in addresses[places.PLACES :]:
            self.lockout.succeeded(address, USER)
        forgotten = [address for address in addresses if not self.lockout.known(address, USER)]
        self.assertEqual(forgotten, [addresses[0], addresses[2]])

    def test_placeOfLastMonth(self) -> None:
        """Of several places each is forgotten in its own time."""
        self.lockout.succeeded(THERE, USER)
        self.clock.advance(places.KNOWN - 86400)
        self.lockout.succeeded(HERE, USER)
        self.assertTrue(self.lockout.known(THERE, USER))
        self.clock.advance(2 * 86400)
        self.assertEqual((self.lockout.known(THERE, USER), self.lockout.known(HERE, USER)), (False, True))

    def test_placesOfBefore(self) -> None:
        """What stood in the file as one line for each network is known until it runs out; a damaged line is nothing."""
        restart = self.remembering()
        now = self.clock.seconds()
        self.hints.put("from", f"{USER}/{THERE}", str(int(now // 86400)), now + places.KNOWN)
        self.hints.put("places", "user2@test.jp", f"{HERE}=x =3 {THERE} {HERE}=99999999 2001:db8::/64=11", now + 1000)
        restart()
        self.assertTrue(self.lockout.known(THERE, USER))
        self.assertFalse(self.lockout.known(HERE, USER))
        self.assertEqual(
            [self.lockout.known(a, "user2@test.jp") for a in (HERE, THERE, "2001:db8::1")], [False, False, True]
        )
        self.lockout.succeeded(HERE, USER)
        self.assertTrue(self.lockout.known(THERE, USER))
        self.clock.advance(places.KNOWN)
        self.assertFalse(self.lockout.known(THERE, USER))

    def test_placesAreWrittenOnceADay(self) -> None:
        """A program that asks for mail each minute does not have each login written."""
        self.remembering()
        written: list[str] = []
        self.patch(self.hints, "put", lambda kind, key, value, until: written.append(value))
        for _ in range(3):
            for _ in range(100):
                self.lockout.succeeded(THERE, USER)
            self.clock.advance(86400)
        self.assertEqual(written, [f"{THERE}={day}" for day in (11, 12, 13)])

    def test_success(self) -> None:
        """A login that succeeds forgives the account its failures from there, and nobody else anything."""
        self.guess(2)
        self.guess(2, address=THERE)
        self.lockout.succeeded(HERE, USER)
        self.guess(1, address=THERE)
        self.guess(2)
        self.assertEqual((self.isLocked(), self.isLocked(THERE)), (False, True))
        self.assertEqual(self.lockout.failures(HERE, "other"), 4)

    def test_ownAccountHelpsNoGuessing(self) -> None:
        """Who has an account cannot clear his network's count by logging in between two guesses."""
        for number in range(6):
            self.guess(1, name=f"user{number}@test.jp")
            self.lockout.succeeded(HERE, "mine@test.jp")
        self.assertTrue(self.lockout.network(HERE))

    def test_underWay(self) -> None:
        """Attempts that are being checked count: many at one time are no way round the limit."""
        self.assertEqual(self.lockout.account(HERE, USER, more=2), "")
        self.assertIn("at one time", self.lockout.account(HERE, USER, more=3))
        self.guess(1)
        self.assertEqual(self.lockout.account(HERE, USER, more=1), "")
        self.assertIn("at one time", self.lockout.account(HERE, USER, more=2))

    def test_networks(self) -> None:
        """One customer has one IPv4 address, or a /64; an IPv4 address is one however it is written."""
        self.assertEqual(owner("2001:db8::1"), owner("2001:db8::ffff:1"))
        self.assertNotEqual(owner("2001:db8::1"), owner("2001:db8:0:1::1"))
        self.assertEqual(owner("::ffff:192.0.2.1"), "192.0.2.1")
        self.assertEqual(owner("fe80::1%eth0"), "fe80::/64")
        for number in range(3):
            self.guess(1, f"2001:db8::{number}")
        self.assertTrue(self.isLocked("2001:db8::9"))

    def test_unlock(self) -> None:
        """An account is unlocked from everywhere, an address for all accounts, and * is all."""
        for what, pair, network in (
            (USER.upper(), False, True),
            (HERE, False, False),
            ("192.0.2.1/32", False, False),
            ("*", False, False),
            ("other@test.jp", True, True),
            ("198.51.100.7", True, True),
        ):
            self.lockout.unlock("*")
            self.guess(3)
            self.guess(3, name="other2@test.jp")
            self.assertTrue(self.isLocked() and self.lockout.network(HERE))
            changes = self.lockout.changes
            count = self.lockout.unlock(what)
            self.assertEqual((self.isLocked(), bool(self.lockout.network(HERE))), (pair, network), what)
            self.assertEqual(count > 0, not pair)
            self.assertNotEqual(self.lockout.changes, changes)

    def test_site(self) -> None:
        """Who has a /48 is stopped there, with all his networks; but not where an account has logged in before."""
        self.lockout.succeeded("2001:db8:1:ffff::7", USER)
        locks = [lock for n in range(30) for lock in self.guess(1, f"2001:db8:1:{n:x}::1", f"user{n}@test.jp")]
        self.assertEqual(locks, [Lock("", "2001:db8:1::/48", 1000100.0)])
        self.assertEqual(self.lockout.locks(), locks)
        self.assertTrue(self.isLocked("2001:db8:1:beef::1"))
        self.assertTrue(self.isLocked("2001:db8:1:beef::1", "nobody@test.jp"))
        self.assertTrue(self.isLocked("2001:db8:1:ffff::8", "nobody@test.jp"))
        self.assertFalse(self.isLocked("2001:db8:1:ffff::8"))
        self.assertFalse(self.isLocked("2001:db8:2::1"))
        self.assertEqual(self.lockout.network("2001:db8:1:beef::1"), "")
        self.clock.advance(100)
        self.assertFalse(self.isLocked("2001:db8:1:beef::1"))

    def test_siteIsMore(self) -> None:
        """One small customer of a /48 is locked long before he locks the others."""
        for number in range(10):
            self.guess(1, "2001:db8:1::1", f"user{number}@test.jp")
        self.assertTrue(self.lockout.network("2001:db8:1::1"))
        self.assertFalse(self.isLocked("2001:db8:1:1::1"))

    def test_noSiteOfIPv4(self) -> None:
        """Neighbours in IPv4 are strangers to each other."""
        for number in range(100):
            self.guess(1, f"192.0.2.{number}", f"user{number}@test.jp")
        self.assertEqual(self.lockout.locks(), [])
        self.assertEqual(len(self.lockout._sites._counted), 0)

    def test_unlockIPv6(self) -> None:
        """Any address of a /64 unlocks it, and the /48 around it."""
        self.guess(3, "2001:db8::1")
        self.lockout.unlock("2001:db8::2")
        self.assertFalse(self.isLocked("2001:db8::1"))
        for number in range(30):
            self.guess(1, f"2001:db8::{number:x}:0:0:0:1", f"user{number}@test.jp")
        self.assertTrue(self.isLocked("2001:db8::beef:0:0:0:1"))
        self.lockout.unlock("2001:db8::4:0:0:0:2")
        self.assertFalse(self.isLocked("2001:db8::beef:0:0:0:1"))

    def test_unlockNetwork(self) -> None:
        """A network that is named unlocks all that is in it, and nothing else."""
        for what, wants in (
            ("192.0.2.0/24", (False, False, True, True)),
            ("192.0.2.0/31", (False, True, True, True)),
            ("2001:db8::/32", (True, True, False, True)),
            ("::/0", (True, True, False, False)),
        ):
            self.lockout.unlock("*")
            places = (HERE, "192.0.2.99", "2001:db8:1:2::3", "2001:dead::1")
            for place in places:
                self.guess(3, place, f"user@{place}")
            self.lockout.unlock(what)
            self.assertEqual(tuple(self.isLocked(place, f"user@{place}") for place in places), wants, what)

    def test_locks(self) -> None:
        """What is locked can be told."""
        self.guess(3)
        self.guess(3, name="x")
        self.clock.advance(10)
        self.assertEqual(
            self.lockout.locks(),
            [Lock("", HERE, 1000100.0), Lock(USER, HERE, 1000100.0), Lock("x", HERE, 1000100.0)],
        )

    def test_bounded(self) -> None:
        """However many addresses and names there are, the memory has an end, and the oldest are forgotten."""
        self.patch(memory, "KEPT", 10)
        self.guess(2, "192.0.2.99")
        for number in range(30):
            self.guess(2, f"192.0.2.{number}", f"user{number}")
            self.guess(3, f"198.51.100.{number}", f"user{number}")
            self.lockout.succeeded(f"192.0.2.{number}", f"other{number}")
        for counts in (self.lockout._networks, self.lockout._pairs, self.lockout._accounts):
            self.assertLessEqual(len(counts.held) + len(counts._counted), 20)
        self.assertLessEqual(len(self.lockout._places._all), 10)
        self.guess(1, "192.0.2.99")
        self.assertFalse(self.isLocked("192.0.2.99"))

    def test_emptied(self) -> None:
        """When a flood has ended its memory is given back, not only when it is full."""
        for number in range(30):
            self.guess(1, f"192.0.2.{number}")
        self.clock.advance(100)
        self.guess(1)
        self.assertEqual(len(self.lockout._networks._counted), 1)

    def test_longNames(self) -> None:
        """A name of ten kilobytes is not kept."""
        self.guess(3, name="x" * 10000)
        self.assertTrue(self.isLocked(name="x" * 10000))
        self.assertEqual(len(self.lockout.locks()[0].account), lockout.LONGEST_NAME)
