"""Tests of L{epost.tables.details}."""

from datetime import date

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import Address, parseAddress
from epost.mail.decision import Allowed
from epost.mail.fault import Fault
from epost.tables.details import Absence, Details, readDetails

ALL = """["baito@test.jp"]
outside = false
disabled = true
networks = ["192.168.0.0/24", "10.1.*", "::1"]
senders = ["Sales@test.jp", "*@shop.test.jp"]
message_octets = 1000000
messages_per_hour = 1
messages_per_day = 2
recipients_per_hour = 3
recipients_per_day = 4
mailbox_messages = 10000
forward = ["me@home.example", "user1@test.jp", "me@home.example"]
keep = false
reply = { text = "休みです。", subject = "休み", from = 2026-12-24, until = 2027-01-06, charset = "iso-2022-jp" }
"""


def isAccount(address: Address) -> bool:
    """Whoever begins with a letter b."""
    return address.local.lower().startswith("b")


def read(text: str) -> tuple[Details, list[str]]:
    """What is said of the first account, and the faults."""
    faults: list[Fault] = []
    found = readDetails("accounts.toml", text.replace("10.1.*", "10.1.*.*").encode(), isAccount, faults)
    return next(iter(found.values()), Details()), [str(fault) for fault in faults]


class DetailsTests(SynchronousTestCase):
    """What is read from a right table."""

    def test_all(self) -> None:
        """Every key."""
        found, faults = read(ALL)
        self.assertEqual(faults, [])
        self.assertEqual((found.outside, found.disabled, found.keep), (False, True, False))
        self.assertEqual((found.messageOctets, found.mailboxMessages), (1000000, 10000))
        self.assertEqual(found.allowed, Allowed(1, 2, 3, 4))
        self.assertEqual(found.forward, (parseAddress("me@home.example"), parseAddress("user1@test.jp")))
        self.assertEqual(
            found.reply, Absence("休みです。", "休み", date(2026, 12, 24), date(2027, 1, 6), "ISO-2022-JP")
        )
        self.assertEqual(str(found.lines["outside"]), 'accounts.toml:2 "baito@test.jp outside = false"')

    def test_defaults(self) -> None:
        """Nothing is forbidden where nothing stands."""
        found, faults = read('["baito@test.jp"]\n')
        self.assertEqual((found, faults), (Details(), []))
        self.assertEqual((found.outside, found.keep, found.allowed.limited), (True, True, False))
        self.assertTrue(found.mayFrom("203.0.113.9"))

    def test_mayFrom(self) -> None:
        """Networks as everywhere."""
        found, _ = read(ALL)
        answers = [found.mayFrom(a) for a in ("192.168.0.9", "192.168.1.9", "10.1.2.3", "::ffff:10.1.2.3", "::1", "x")]
        self.assertEqual(answers, [True, False, True, True, True, False])

    def test_grants(self) -> None:
        """Senders, whatever the case; a star is no @, not of a quoted local part either."""
        found, _ = read(ALL)
        for path, granted in {
            "sales@Test.jp": True, "sales2@test.jp": False, "x@shop.test.jp": True, "x@a.shop.test.jp": False,
            '"a@b"@shop.test.jp': True, '"x@shop.test.jp"@test.jp': False,
        }.items():  # fmt: skip
            self.assertEqual(found.grants(parseAddress(path)), granted, path)
        self.assertFalse(Details().grants(parseAddress("x@test.jp")))

    def test_absence(self) -> None:
        """First and last day included."""
        there = Absence("x", first=date(2026, 12, 24), last=date(2027, 1, 6))
        days = (date(2026, 12, 23), date(2026, 12, 24), date(2027, 1, 6), date(2027, 1, 7))
        self.assertEqual([there.on(day) for day in days], [False, True, True, False])
        self.assertTrue(Absence("x").on(days[0]))


class FaultTests(SynchronousTestCase):
    """What is wrong is told with its line and what was expected."""

    def test_all(self) -> None:
        """Each key, and each way to be wrong in it."""
        for line, expected in {
            "outside = 0": "outside = 0, expected true or false",
            "message_octets = true": "message_octets = True, expected a whole number, 0 for no limit",
            "recipients_per_day = -1": "recipients_per_day = -1, expected a whole number, 0 for no limit",
            'networks = ["10.*.1.*"]': "networks = ['10.*.1.*']: '10.*.1.*', has a number behind a *, expected a list",
            "networks = []": "networks = [], expected a list of networks",
            'senders = "x@test.jp"': "senders = 'x@test.jp', expected a list of addresses, perhaps with *",
            'senders = ["sales"]': "senders = ['sales']: 'sales', no domain, expected a list",
            'forward = ["*@x.jp"]': "forward = ['*@x.jp']: '*@x.jp', a * is for patterns, expected a list of addresses",
            "keep = 1": "keep = 1, expected true or false",
            "keep = false": "keep without forward, expected forward beside it, or neither",
            'forward = ["BAITO@test.jp"]': "forward leads back to baito@test.jp, expected keep = true for a copy here",
            "outsid = false": "unknown key outsid, expected outside perhaps, or one of outside, disabled",
            "reply = true": 'reply is no table, expected reply = { text = "…" }',
            "reply = {}": 'reply without text, expected text = "…" in it',
            'reply = { text = "x", to = 1 }': "unknown key to, expected",
            'reply = { text = "x", from = 2026-12-24T00:00:00 }': "expected a day such as 2026-12-24",
            'reply = { text = "x", from = 2027-01-06, until = 2026-12-24 }': "until 2026-12-24 is before from",
            'reply = { text = "😀", charset = "ISO-2022-JP" }': "'😀' cannot be written in ISO-2022-JP",
            'reply = { text = "x", charset = "EUC-JP" }': """expected "UTF-8" or "ISO-2022-JP\"""",
            'reply = { text = "x", subject = "a\\r\\nBcc: x" }': "expected a text of one line",
        }.items():
            _, faults = read(f'\n["baito@test.jp"]\n{line}')
            self.assertIn(expected, "\n".join(faults), line)
            self.assertEqual({fault.split(":")[1] for fault in faults}, {"3"}, line)

    def test_oneLine(self) -> None:
        """Blanks of any width and whatever can be typed are text; what ends a line or steers a terminal is not."""
        for sign in ("\u3000", "\xa0", "\u200d", "\U000e0100", "\U0001fae9"):
            found, faults = read(f'["baito@test.jp"]\nreply = {{ text = "x", subject = "夏{sign}休み" }}')
            self.assertEqual((found.reply and found.reply.subject, faults), (f"夏{sign}休み", []), ascii(sign))
        for escaped in ("\\u0000", "\\t", "\\u007f", "\\u0085", "\\u009b", "\\u2028", "\\u2029"):
            _, faults = read(f'["baito@test.jp"]\nreply = {{ text = "x", subject = "夏{escaped}休み" }}')
            self.assertIn("expected a text of one line", "\n".join(faults), escaped)
        for blank in ("", " ", "\u3000"):
            self.assertTrue(read(f'["baito@test.jp"]\nreply = {{ text = "x", subject = "{blank}" }}')[1], ascii(blank))

    def test_nobody(self) -> None:
        """A table for nobody would forbid nobody anything: a fault, not a remark."""
        self.assertEqual(
            read('["user9@test.jp"]')[1],
            ["accounts.toml:1: user9@test.jp is no account, expected one of accounts.dat"],
        )

    def test_lineWithinReply(self) -> None:
        """A fault within a table of its own has its line there."""
        _, faults = read('["baito@test.jp".reply]\ntext = "x"\n\nuntil = "soon"')
        self.assertEqual([fault.partition(": ")[0] for fault in faults], ["accounts.toml:4"])
