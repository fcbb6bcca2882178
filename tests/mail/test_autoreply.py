"""Automatic replies: to whom there is one, and what it looks like."""

import email.policy
import time
from base64 import b64encode
from dataclasses import dataclass
from datetime import date
from email import message_from_bytes
from email.message import EmailMessage
from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from epost.mail import autoreply
from epost.mail.address import Address, parseAddress
from epost.mail.autoreply import NAMED, Letter, astray, compose, declined

NOON = 1796040000.0  # 2026-11-30 12:00 UTC
ANNA = parseAddress("anna@example.jp")
USER1 = parseAddress("user1@test.jp")
OWN = (USER1, parseAddress("sales@test.jp"), parseAddress("user1+shop@test.jp"))
HEADER = (
    b"From: Anna <anna@example.jp>\r\nTo: User One <USER1@Test.jp>\r\nSubject: Lunch\r\nMessage-ID: <1@example.jp>\r\n"
)

# Everything that ends a line somewhere, or that something obeys.
ENDS = (
    "\r\n",
    "\n",
    "\r",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
    "\0",
    "\x1b$B",
    "\r\n\r\n",
)


@dataclass
class Away:
    """What the account says."""

    text: str = "I am away.\nUntil Monday."
    subject: str = ""
    first: date = date(2026, 1, 1)
    last: date = date(2027, 1, 1)
    charset: str = "UTF-8"

    def on(self, day: date) -> bool:
        """Within both days."""
        return self.first <= day <= self.last


def why(
    header: bytes = HEADER, sender: str = "anna@example.jp", away: Away | None = None, now: float = NOON
) -> str | None:
    """Why there is no reply."""
    path = parseAddress(sender) if sender else None
    letter = Letter(header + b"\r\nTo: nobody@example.jp\r\n", ["test.jp"])
    return declined(letter, path, away or Away(), now) or (path and astray(letter, path, OWN))


def reply(header: bytes = HEADER, away: Away | None = None, sender: str = "anna@example.jp") -> EmailMessage:
    """The reply, read as a mail program reads it."""
    _, octets = compose(Letter(header), parseAddress(sender), USER1, away or Away(), "B1@dc.test.jp", NOON)
    found = message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


class DeclinedTests(SynchronousTestCase):
    """L{declined} keeps a reply from whoever did not ask for one."""

    def test_person(self) -> None:
        """A person who wrote to the account gets one."""
        self.assertIsNone(why())
        for sender in (
            "owner@shop.jp",
            "request@x.jp",
            "bouncer@x.jp",
            "noreplyton@x.jp",
            "nora.reply@x.jp",
            "relay@x.jp",
        ):
            self.assertIsNone(why(sender=sender), sender)
        for field in (b"Auto-Submitted: no", b"Auto-Submitted: No (I typed it)", b"Precedence: first-class"):
            self.assertIsNone(why(HEADER + field + b"\r\n"), field)
        for field in (b"X-Auto-Response-Suppress: DR, RN, NRN", b"Listening: x", b"Content-Type: multipart/mixed"):
            self.assertIsNone(why(HEADER + field + b"\r\n"), field)

    def test_nullPath(self) -> None:
        """Notices get none."""
        self.assertEqual(why(sender=""), "it has a null reverse path")

    def test_programs(self) -> None:
        """Who is a list or a program by its name gets none, however it is written."""
        for local in (
            *(
                "owner-list",
                "list-owner",
                "list-request",
                "List-Request",
                "MAILER-DAEMON",
                "mailer-daemon+x",
                "majordomo",
            ),
            *(
                "noreply",
                "no-reply",
                "No_Reply",
                "noreply-42",
                "donotreply",
                "do-not-reply",
                "do.not.reply",
                "not-reply",
            ),
            *(
                "bounce",
                "bounces+1=2",
                "list-bounces",
                "list-bounces+user1=test.jp",
                "bounce-7",
                "staff-relay",
                "listserv",
            ),
        ):
            self.assertEqual(why(sender=f"{local}@example.jp"), "its sender is a program or a list", local)

    def test_fields(self) -> None:
        """What is automatic, bulk or a list's says so in its header."""
        for field, expected in {
            "Auto-Submitted: auto-replied": "it was sent automatically",
            "auto-submitted:\r\n auto-generated; x=no": "it was sent automatically",
            "AUTO-SUBMITTED : auto-notified": "it was sent automatically",
            "Auto-Submitted: no\r\nAuto-Submitted: auto-replied": "it was sent automatically",
            "List-Id: <x.example.jp>": "it is from a list",
            "List-Unsubscribe: <mailto:x@y>": "it is from a list",
            "Mailing-List: x": "it is from a list",
            "Precedence: bulk": "it is bulk mail",
            "Precedence: LIST": "it is bulk mail",
            "precedence:junk (sorry)": "it is bulk mail",
            "X-Auto-Response-Suppress: All": "its sender wants none",
            "X-Auto-Response-Suppress: DR, OOF, AutoReply": "its sender wants none",
            "Content-Type: multipart/report; report-type=delivery-status": "it is a notice",
        }.items():
            for end in ("\r\n", "\n"):
                header = HEADER.decode().replace("\r\n", end) + field.replace("\r\n", end) + end
                self.assertEqual(why(header.encode()), expected, field)

    def test_ownMail(self) -> None:
        """The account does not answer itself, as whatever address."""
        for sender in ("user1@test.jp", "Sales@TEST.jp", "user1+shop@test.jp"):
            self.assertEqual(why(sender=sender), "it is from the account itself")

    def test_mustBeNamed(self) -> None:
        """One of its addresses must stand as a recipient: in a blind copy or through a list it does not."""
        for to in (
            *("user1@test.jp", "<USER1@TEST.JP>", '"One, User" <user1@test.jp>, x@y.jp', "x@y.jp,user1@test.jp"),
            *("Staff: a@b.jp, sales@test.jp;", "user1+shop@test.jp (me)", "=?utf-8?B?44GC?= <sales@test.jp>"),
            *("a@b.jp,\r\n\tuser1@test.jp", '"user1"@test.jp'),
        ):
            for name in ("To", "cc", "Resent-To"):
                self.assertIsNone(why(f"{name}: {to}\r\n".encode()), to)
        for to in (
            *(
                "",
                "undisclosed-recipients:;",
                "user1@test.jp.example.jp",
                "xuser1@test.jp",
                "x.user1@test.jp",
                "user1@test",
            ),
            *(
                "user1 <x@test.jp>",
                "x+user1@test.jp",
                "user1@@test.jp",
                "test.jp",
                "@test.jp",
                f"{'x' * 80}user1@test.jp",
            ),
        ):
            self.assertEqual(why(f"To: {to}\r\n".encode()), "it does not name the account as a recipient", to)
        self.assertIsNotNone(why(b"Subject: user1@test.jp\r\nX-To: user1@test.jp\r\n"))

    def test_othersAreNotRead(self) -> None:
        """Of thousands of recipients so many in our domains are read, and no others."""
        read: list[str] = []

        def counted(text: str) -> Address:
            read.append(text)
            return parseAddress(text)

        self.patch(autoreply, "parseAddress", counted)
        others = ", ".join(f"{number}@あ{number}.jp" for number in range(3000))
        self.assertIsNone(why(f"To: {others}, user1@test.jp\r\n".encode()))
        self.assertEqual(read, ["user1@test.jp"])
        for most, expected in ((NAMED - 1, True), (NAMED, False)):
            before = ", ".join(f"x{number}@test.jp" for number in range(most))
            self.assertEqual(why(f"To: {before}, user1@test.jp\r\n".encode()) is None, expected, most)

    def test_internationalDomain(self) -> None:
        """A domain of ours is found in both of its spellings."""
        for text in ("me@例え.jp", "me@xn--r8jz45g.jp", "me@XN--R8JZ45G.JP"):
            letter = Letter(f"To: {text}\r\n".encode(), ["xn--r8jz45g.jp", "[10.0.0.1]", "xn--a-ecp.ru"])
            self.assertEqual(letter.recipients, (parseAddress("me@例え.jp"),), text)

    def test_days(self) -> None:
        """From the first day on to the last one, both with all their hours."""
        away = Away(first=date(2026, 11, 29), last=date(2026, 11, 30))
        midnight = time.mktime((2026, 11, 29, 0, 0, 0, 0, 0, -1))
        for moment, there in {-1: False, 0: True, 86400: True, 2 * 86400 - 1: True, 2 * 86400: False}.items():
            self.assertEqual(why(away=away, now=midnight + moment) is None, there, moment)

    def test_longHeader(self) -> None:
        """A header that is made to be slow to read is not (each of these took seconds where a pattern looked back)."""
        for part in (b"a", b'"', b'\\"', b'"\\"', b"(", b"<", b"a@", b"=?a?q?", b",", b"<a@b>", b"(a)", b"\r\n ", b":"):
            block = part * (60000 // len(part))
            for name in (b"To", b"Subject", b"References", b"Auto-Submitted", b"Message-Id"):
                header = HEADER + name + b": " + block + b"\r\n"
                why(header)
                self.assertEqual(reply(header)["to"], "anna@example.jp")

    def test_once(self) -> None:
        """What the fields say of all who are away is found out once for a message, and not from all of a long one."""
        letter, asked = Letter(HEADER), []
        words = Letter.words
        self.patch(Letter, "words", lambda self, name: asked.append(name) or words(self, name))
        for _ in range(100):
            self.assertIsNone(declined(letter, ANNA, Away(), NOON))
        self.assertEqual(len(asked), len(set(asked)))
        long = Letter(b"Precedence: " + b"a " * 5000 + b"\r\n" + b"Precedence: b\r\n" * 5000 + b"\r\n")
        self.assertEqual(long.words("precedence"), {"a", "b"})
        self.assertEqual(Letter(b"Precedence: " + b"a " * 5000 + b"z\r\n").words("precedence"), {"a"})


class ComposeTests(SynchronousTestCase):
    """L{compose} writes it."""

    def test_whole(self) -> None:
        """All of it, octet for octet."""
        envelope, octets = compose(Letter(HEADER), ANNA, USER1, Away(), "B0000000187@dc.test.jp", NOON)
        [date] = [line for line in octets.decode().split("\r\n") if line.startswith("Date: ")]
        self.assertEqual(
            octets.decode(),
            "From: user1@test.jp\r\n"
            "To: anna@example.jp\r\n"
            "Subject: Re: Lunch\r\n"
            f"{date}\r\n"
            "Message-Id: <B0000000187@dc.test.jp>\r\n"
            "In-Reply-To: <1@example.jp>\r\n"
            "References: <1@example.jp>\r\n"
            "Auto-Submitted: auto-replied\r\n"
            "MIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=UTF-8\r\n"
            "Content-Transfer-Encoding: 7bit\r\n"
            "\r\n"
            "I am away.\r\n"
            "Until Monday.\r\n",
        )
        self.assertEqual((envelope.sender, envelope.recipients, envelope.utf8), (None, (ANNA,), False))

    def test_answersNoReply(self) -> None:
        """Two of us do not answer each other for ever, even where a null path is lost on the way."""
        _, octets = compose(Letter(HEADER), USER1, ANNA, Away(), "1@x", NOON)
        self.assertEqual(declined(Letter(octets), ANNA, Away(), NOON), "it was sent automatically")

    def test_subject(self) -> None:
        """The set one; else the original's behind one Re:, however it was encoded; cut where it is long."""
        for original, expected in {
            b"Subject: Re: Lunch\r\n": "Re: Lunch",
            b"Subject: RE : Lunch\r\n": "RE : Lunch",
            b"": "Re:",
            b"Subject: =?ISO-2022-JP?B?GyRCJCIbKEI=?= x\r\n": "Re: あ x",
            b"Subject: =?utf-8?B?44GC?=\r\n =?utf-8?B?44GE?=\r\n": "Re: あい",
            "Subject: あ\r\n".encode(): "Re: あ",
            b"Subject: =?nonsense?B?44GC?=\r\n": "Re: =?nonsense?B?44GC?=",
            b"Subject: =?utf-8?B?4?=\r\n": "Re: =?utf-8?B?4?=",
            b"Subject: " + b"x" * 5000 + b"\r\n": "Re: " + "x" * 200,
        }.items():
            for charset in ("UTF-8", "ISO-2022-JP"):
                self.assertEqual(reply(original, Away(charset=charset))["subject"], expected)
        self.assertEqual(reply(away=Away(subject="Away "))["subject"], "Away")

    def test_encodedSubject(self) -> None:
        """Encoded words are whole and short, in the charset that can write them."""
        for subject, charset, used in (
            ("不在です。" * 30, "UTF-8", "UTF-8"),
            ("不在です。" * 30, "ISO-2022-JP", "ISO-2022-JP"),
            ("不在 ① 髙" * 20, "ISO-2022-JP", "UTF-8"),
            ("=?utf-8?Q?a?=", "UTF-8", "UTF-8"),
        ):
            away = Away(subject=subject, charset=charset)
            octets = compose(Letter(HEADER), ANNA, USER1, away, "1@x", NOON)[1]
            self.assertEqual(message_from_bytes(octets, policy=email.policy.default)["subject"], subject[:200].strip())
            self.assertIn(f"=?{used}?B?".encode(), octets)
            self.assertLessEqual(max(map(len, octets.split(b"\r\n"))), 76)

    def test_references(self) -> None:
        """The thread goes on; of a long one the first and the last; what is no identifier is left out."""
        for header, expected in {
            b"References: <a@x> <b@x>\r\nIn-Reply-To: <c@x>\r\nMessage-Id: <d@x>\r\n": "<a@x> <b@x> <d@x>",
            b"In-Reply-To: <c@x> <z@x>\r\nMessage-Id: <d@x>\r\n": "<c@x> <d@x>",
            b"Message-Id: nonsense <<d@x>\x07\r\n": "<d@x>",
            b"Message-Id: <d x>\r\nReferences: <" + b"a" * 300 + b">\r\n": None,
        }.items():
            found = reply(header)
            self.assertEqual((found["references"] or "").split(), (expected or "").split())
            self.assertEqual(found["in-reply-to"], "<d@x>" if expected else None)
        many = b"References:" + b"".join(b" <%d@x>\r\n" % number for number in range(99)) + b"Message-Id: <d@x>\r\n"
        self.assertEqual(reply(many)["references"].split(), ["<0@x>", *(f"<{n}@x>" for n in range(81, 99)), "<d@x>"])

    def test_text(self) -> None:
        """The text arrives, in seven bits, in the charset that was asked for where that has all of it."""
        for text, charset, used, encoding in (
            ("Away.", "UTF-8", "utf-8", "7bit"),
            ("不在です。\r\n月曜まで。", "UTF-8", "utf-8", "base64"),
            ("不在です。\r\n月曜まで。", "ISO-2022-JP", "iso-2022-jp", "7bit"),
            ("不在です ①", "ISO-2022-JP", "utf-8", "base64"),
            ("x" * 2000, "UTF-8", "utf-8", "base64"),
            ("あ" * 600, "ISO-2022-JP", "iso-2022-jp", "base64"),
            (".\n..\n", "UTF-8", "utf-8", "7bit"),
        ):
            octets = compose(Letter(HEADER), ANNA, USER1, Away(text, charset=charset), "1@x", NOON)[1]
            self.assertTrue(octets.isascii() and octets.endswith(b"\r\n"))
            self.assertLessEqual(max(map(len, octets.split(b"\r\n"))), 998)
            self.assertEqual(octets.count(b"\n"), octets.count(b"\r\n"))
            found = message_from_bytes(octets, policy=email.policy.default)
            assert isinstance(found, EmailMessage)
            self.assertEqual((found.get_content_charset(), found["content-transfer-encoding"]), (used, encoding))
            self.assertEqual(found.get_content().split(), text.split())
        for charset in ("UTF-8", "ISO-2022-JP"):
            content = reply(away=Away("a\x1b[2J\0b\ud800\x9bc\td", charset=charset)).get_content()
            self.assertEqual(content.rstrip(), "a[2Jbc\td")

    def test_addressBeyondAscii(self) -> None:
        """A sender whose address needs SMTPUTF8 gets a message that says so."""
        envelope, octets = compose(Letter(HEADER), parseAddress("アンナ@example.jp"), USER1, Away(), "1@x", NOON)
        self.assertTrue(envelope.utf8)
        self.assertIn("To: アンナ@example.jp\r\n".encode(), octets)

    def test_nobodyAddsAField(self) -> None:
        """Whatever ends a line, in whatever field, plain or encoded, adds no field."""
        plain = [name.lower() for name in reply().keys()]  # noqa: SIM118 - a message is no mapping
        names = (b"Subject", b"Message-Id", b"References", b"In-Reply-To", b"To", b"From")
        for end, name in product(ENDS, names):
            evil = f"<a@x>{end}Bcc: victim@example.com{end}{end}<b@x>"
            encoded = b"=?utf-8?B?" + b64encode(evil.encode()) + b"?="
            for value in (evil.encode(), encoded):
                self.only(plain, reply(HEADER.replace(b"Subject: Lunch\r\n", b"") + name + b": " + value + b"\r\n"))
        for end, charset in product(ENDS, ("UTF-8", "ISO-2022-JP", f"x{ENDS[0]}Bcc: x@y.jp")):
            evil = f"away{end}Bcc: victim@example.com{end}{end}x"
            self.only(plain, reply(away=Away(subject=evil, charset=charset)))
            self.only(plain, reply(away=Away(text=evil, charset=charset)))

    def only(self, plain: list[str], found: EmailMessage) -> None:
        """Nothing stands there but what should."""
        names = [name.lower() for name in found.keys()]  # noqa: SIM118
        self.assertEqual([name for name in names if name not in plain], [])
        self.assertEqual(len(set(names)), len(names))
        self.assertEqual(found["to"], "anna@example.jp")
        self.assertEqual(found.defects, [])
