"""Reverse paths that are rewritten and read back."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import parseAddress
from epost.mail.srs import DAYS, Srs

NOW = 1796040000.0  # 2026-11-30 12:00:00 UTC
DAY = 86400.0
SENDER = parseAddress("User2@test-sample00.jp")


class SrsTests(SynchronousTestCase):
    """L{Srs} signs what it rewrites."""

    def setUp(self) -> None:
        """One key."""
        self.srs = Srs([b"key"])

    def forward(self, text: str, now: float = NOW) -> str:
        """What becomes of a reverse path."""
        return str(self.srs.forward(parseAddress(text), "test.jp", now))

    def back(self, text: str, now: float = NOW) -> str | None:
        """What becomes of what is returned."""
        found = self.srs.reverse(parseAddress(text), now)
        return None if found is None else str(found)

    def test_there_and_back(self) -> None:
        """A rewritten address is ours, and leads to that from which it was made, whatever case it comes back in."""
        made = self.forward("User2@test-sample00.jp")
        self.assertRegex(made, r"^SRS0=[A-Z2-7]{6}=[A-Z2-7]{2}=test-sample00\.jp=User2@test\.jp$")
        self.assertTrue(self.srs.isOne(parseAddress(made)))
        self.assertFalse(self.srs.isOne(SENDER))
        self.assertEqual(self.back(made), "User2@test-sample00.jp")
        self.assertEqual(self.back(made.lower()), "user2@test-sample00.jp")
        self.assertEqual(self.back(made.upper()), "USER2@TEST-SAMPLE00.JP")
        self.assertEqual(self.back(self.forward("a=b@x.example")), "a=b@x.example")

    def test_forged(self) -> None:
        """Another address, another day and another digest are not believed."""
        made = self.forward("User2@test-sample00.jp")
        digest = made[5:11]
        for forged in (
            made.replace("User2", "User3"),
            made.replace("sample00", "sample01"),
            made.replace(digest, digest[1:] + ("A" if digest[0] != "A" else "B")),
            made.replace(digest, ""),
            f"{made[:12]}{'AA' if made[12:14] != 'AA' else 'AB'}{made[14:]}",
            "SRS0=@test.jp",
            "SRS1=@test.jp",
            "SRS0===x.example=a@test.jp",
        ):
            self.assertNotEqual(forged, made)
            self.assertIsNone(self.back(forged), forged)
        self.assertIsNone(Srs([b"other"]).reverse(parseAddress(made), NOW))

    def test_expired(self) -> None:
        """It is good for three weeks, over the turn of the count too, and was not made tomorrow."""
        for start in (NOW, 1024 * 20 * DAY - 2 * DAY):
            made = self.forward("a@x.example", start)
            self.assertEqual(self.back(made, start + DAYS * DAY), "a@x.example")
            self.assertIsNone(self.back(made, start + (DAYS + 1) * DAY))
            self.assertIsNone(self.back(made, start - DAY))

    def test_again(self) -> None:
        """What was rewritten before us keeps who did it first, however many there are; it goes back to that one."""
        first = str(Srs([b"theirs"]).forward(SENDER, "first.example", NOW))
        made = self.forward(first)
        self.assertRegex(made, r"^SRS1=[A-Z2-7]{6}=first\.example==")
        self.assertEqual(self.back(made), first)
        third = str(Srs([b"third"]).forward(parseAddress(made), "c.example", NOW))
        self.assertEqual(str(Srs([b"third"]).reverse(parseAddress(third), NOW)), first)
        self.assertLess(len(third), len(made) + 4)
        self.assertIsNone(self.back(made.replace("first.example", "other.example")))

    def test_left(self) -> None:
        """What would be too long for a server, or is in quotes, stays as it is."""
        for text in (f"{'a' * 30}@{'b' * 30}.example", '"a b"@x.example'):
            self.assertEqual(self.forward(text), text)

    def test_keys(self) -> None:
        """A new key in front of the old one: what the old one signed is believed."""
        made = self.srs.forward(SENDER, "test.jp", NOW)
        both = Srs([b"new", b"key"])
        self.assertEqual(both.reverse(made, NOW), SENDER)
        self.assertNotEqual(str(both.forward(SENDER, "test.jp", NOW)), str(made))
