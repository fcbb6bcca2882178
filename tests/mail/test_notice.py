"""What a sender is told (spec 9)."""

import email
import os
import time
from email.message import Message

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import Address, parseAddress
from epost.mail.envelope import Envelope
from epost.mail.name import Name, numbered
from epost.mail.notice import Notice, Subject, compose
from epost.mail.reply import Reply

WHEN = 1246865375.0  # 2009-07-06 16:29:35 +0900
BOUNDARY = "-----TW9uLCAwNiBKdWwgMjAwOSAxNjoyOTozNSArMDkwMHRlc3QuanA="
NO = Reply(550, ("Please, mail from a valid IP or Domain address.",))
USER2 = parseAddress("user2@test-sample00.jp")
BAITO = parseAddress("baito@test.jp")
NAME = numbered(186).again(1).notice(1)

ORIGINAL = """\
Received: from (unverified [192.168.0.102]) by test.jp
\t(E-POST ESMTP Receiver (4.56)) with ESMTP id <B0000000186@test.jp>;
\tMon, 06 Jul 2009 16:26:58 +0900
subject:test4
Message-Id: <B0000000186@test.jp>
Date: Mon, 06 Jul 2009 16:27:34 +0900
From: baito@test.jp

"""

# The seed's notice. Not in it: the two fields behind the boundary and the closing delimiter; its delimiters are the
# damaged ones that spec 9 mends.
SEED = f"""\
Subject: Delivery failure
From: postmaster@test.jp
To: baito@test.jp
Date: Mon, 06 Jul 2009 16:29:35 +0900
Message-Id: <B0000000186@test.jp>
Content-Type: multipart/mixed;
    boundary="{BOUNDARY}"
MIME-Version: 1.0
Auto-Submitted: auto-replied

--{BOUNDARY}
Content-Type: text/plain

Your message has encountered delivery problems to the following recipients:
user2@test-sample00.jp

> 550 Please, mail from a valid IP or Domain address.

--{BOUNDARY}
Content-Type: message/rfc822

{ORIGINAL}
--{BOUNDARY}--
"""


class NoticeTests(SynchronousTestCase):
    """L{compose} writes the seed's notice, and valid MIME."""

    def setUp(self) -> None:
        """The seed's machines stand in Japan."""

        def zone(name: str | None) -> None:
            os.environ.pop("TZ", None)
            if name is not None:
                os.environ["TZ"] = name
            time.tzset()

        self.addCleanup(zone, os.environ.get("TZ"))
        zone("Asia/Tokyo")

    def compose(
        self,
        original: bytes = b"Subject: x\r\n\r\nbody\r\n",
        replies: dict[Address, Reply] | None = None,
        name: Name = NAME,
        sender: Address = BAITO,
        size: int = 65536,
        until: float | None = None,
        utf8: bool = False,
        domain: str = "test.jp",
        whole: bool = False,
        long: bool = False,
    ) -> Notice:
        """A notice about the seed's message, or one that differs."""
        envelope = Envelope(sender, (USER2,), utf8=utf8)
        about = Subject(name, envelope, domain, replies or {USER2: NO}, until, whole, long)
        parts = [original[start : start + size] for start in range(0, len(original), size)]
        return compose(about, lambda: iter(parts), WHEN)

    def parsed(self, notice: Notice) -> tuple[Message, Message, Message, bytes]:
        """The notice, its text and its second part as another's parser reads them, and the original in octets."""
        whole = b"".join(notice.parts())
        self.assertEqual(whole.count(b"\r\n"), whole.count(b"\n"))
        self.assertTrue(all(len(line) <= 998 for line in notice.head.split(b"\r\n")))
        message = email.message_from_bytes(whole)
        text, second = message.get_payload()
        for part in (message, text, second):
            self.assertEqual(part.defects, [])
        original = whole.split(f"--{message.get_boundary()}\r\n".encode())[2]
        original = original.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
        return message, text, second, original

    def test_seed(self) -> None:
        """Line for line the notice of the seed, as spec 9 says how to read it."""
        notice = self.compose(ORIGINAL.replace("\n", "\r\n").encode())
        self.assertEqual(b"".join(notice.parts()).decode().split("\r\n"), SEED.split("\n"))

    def test_fromNobody(self) -> None:
        """It comes from the null reverse path, and goes to the sender alone."""
        self.assertEqual(self.compose().envelope, Envelope(None, (BAITO,)))

    def test_validMime(self) -> None:
        """Another's parser finds the text, and the original octet for octet."""
        original = b"Subject: x\r\n\r\n--\r\n-- y\r\n" + BOUNDARY.encode() + b"\r\nno line end"
        message, text, second, found = self.parsed(self.compose(original))
        self.assertEqual(message["MIME-Version"], "1.0")
        self.assertEqual(text.get_content_type(), "text/plain")
        self.assertEqual(second.get_content_type(), "message/rfc822")
        self.assertEqual(second.get_payload()[0]["Subject"], "x")
        self.assertEqual(found, original)
        self.assertEqual(message["Content-Transfer-Encoding"], None)

    def test_long(self) -> None:
        """Of what is too long the header is returned, and the sender is told so; wherever it is cut into parts."""
        original = b"Subject: x\r\nTo: y\r\n\r\n" + b"\xff body\r\n" * 50000
        for size in (1, 7, 65536):
            message, text, second, found = self.parsed(
                self.compose(original[: 900 if size < 9 else None], long=True, size=size)
            )
            self.assertEqual(second.get_content_type(), "text/rfc822-headers")
            self.assertEqual(found, b"Subject: x\r\nTo: y\r\n")
            self.assertEqual(message["Content-Transfer-Encoding"], None)
            self.assertIn("It is too long to be returned: only its header follows.", text.get_payload())
        second = self.parsed(self.compose(original, long=True, utf8=True))[2]
        self.assertEqual(second.get_content_type(), "message/global-headers")

    def test_longHeader(self) -> None:
        """A header that is itself very long is cut at a line end; an original without any is its own header."""
        for lines in (b"X: " + b"x" * 70 + b"\r\n") * 2000, b"X: " + b"x" * 70000:
            found = self.parsed(self.compose(lines, long=True))[3]
            self.assertLessEqual(len(found), 65536)
            self.assertEqual(found, lines[: len(found)])
        self.assertEqual(self.parsed(self.compose(b"X: y\r\n", long=True))[3], b"X: y\r\n")

    def test_severalRecipients(self) -> None:
        """Each has its own line, an empty line, all lines of its reply, an empty line."""
        replies = {
            USER2: Reply(550, ("No such user", "here"), "5.1.1"),
            parseAddress("a@b.example"): Reply(451, ("Later",)),
        }
        text = self.parsed(self.compose(replies=replies))[1]
        self.assertEqual(
            text.get_payload().split("\r\n")[1:],
            [
                "user2@test-sample00.jp",
                "",
                "> 550-5.1.1 No such user",
                "> 550 5.1.1 here",
                "",
                "a@b.example",
                "",
                "> 451 Later",
                "",
            ],
        )

    def test_boundaryOfALongDomain(self) -> None:
        """The boundary is cut to 70 octets, its five dashes included."""
        boundary = self.parsed(self.compose(domain="a-very-long-name." * 6 + "example"))[0].get_boundary()
        assert boundary is not None
        self.assertEqual(len(boundary), 70)
        self.assertTrue(boundary.startswith(BOUNDARY[:40]))

    def test_boundaryInTheOriginal(self) -> None:
        """Where a line of the original begins with the delimiter, in whatever parts it comes, the end is changed."""
        delimiter = b"--" + BOUNDARY.encode()
        for original in (
            b"Subject: x\r\n\r\n" + delimiter + b"\r\nX\r\n",
            delimiter + b"--\r\n",
            b"a: b\r\n\r\n" + delimiter + b" and more\r\n",
        ):
            for size in (1, 2, 13, len(delimiter), 64, 65536):
                message, _, _, found = self.parsed(self.compose(original, size=size))
                boundary = message.get_boundary()
                assert boundary is not None
                self.assertNotEqual(boundary, BOUNDARY)
                self.assertEqual((boundary[:40], len(boundary)), (BOUNDARY[:40], len(BOUNDARY)))
                self.assertEqual(found, original)

    def test_boundaryWithinALine(self) -> None:
        """The delimiter in the middle of a line does no harm and changes nothing."""
        original = b"Subject: x\r\n\r\n >--" + BOUNDARY.encode() + b"\r\n"
        for size in (1, 5, 65536):
            self.assertEqual(self.parsed(self.compose(original, size=size))[0].get_boundary(), BOUNDARY)

    def test_noticeOfANotice(self) -> None:
        """An original that is made from the very notice, changed boundary and all, is told apart again."""
        original = b"a: b\r\n\r\n--" + BOUNDARY.encode() + b"\r\n"
        for _ in range(3):
            original = b"".join(self.compose(original).parts())
            self.assertEqual(self.parsed(self.compose(original))[3], original)

    def test_eightBit(self) -> None:
        """An original with 8-bit octets is declared as such, in its part and in front of all."""
        notice = self.compose(b"Subject: x\r\n\r\n" + "日本語".encode("shift_jis") + b"\r\n", size=3)
        message, text, second, _ = self.parsed(notice)
        self.assertEqual(message["Content-Transfer-Encoding"], "8bit")
        self.assertEqual(second["Content-Transfer-Encoding"], "8bit")
        self.assertEqual(text["Content-Transfer-Encoding"], None)
        self.assertEqual(notice.envelope.body, "8BITMIME")
        self.assertNotIn(b"8bit", b"".join(self.compose().parts()))

    def test_addressesBeyondAscii(self) -> None:
        """SMTPUTF8: the text says its character set, the part is message/global, and the next hop must know."""
        name = parseAddress("伊藤@test.jp")
        notice = self.compose(sender=name, replies={name: NO}, utf8=True)
        message, text, second, _ = self.parsed(notice)
        self.assertEqual(text.get_content_charset(), "utf-8")
        self.assertIn("伊藤@test.jp", text.get_payload(decode=True).decode())
        self.assertEqual(second.get_content_type(), "message/global")
        self.assertEqual(message["Content-Transfer-Encoding"], "8bit")
        self.assertTrue(notice.envelope.utf8)
        self.assertIn("To: 伊藤@test.jp".encode(), notice.head)

    def test_repliesForgeNothing(self) -> None:
        """A reply is one line in the notice, whatever is in it: control octets, no UTF-8, no end."""
        evil = Reply(550, ("a\r\n\r\n--" + BOUNDARY + "--\x1b[2J\udcff\x00", "é" * 5000))
        _, text, _, _ = self.parsed(self.compose(replies={USER2: evil}))
        lines = text.get_payload(decode=True).decode().split("\r\n")
        self.assertEqual(lines[3], f"> 550-a\\x0D\\x0A\\x0D\\x0A--{BOUNDARY}--\\x1B[2J\\xff\\x00")
        self.assertTrue(lines[4].endswith("é…") and len(lines[4].encode()) < 530)

    def test_messageIds(self) -> None:
        """Only the first notice of failure has the seed's Message-Id; all others, and by a setting all, the name."""
        first = numbered(186)
        for name, whole, expected in (
            (first.notice(1), False, "<B0000000186@test.jp>"),
            (first.again(1).notice(2), False, "<B0000000186-R0001-E002@test.jp>"),
            (first.again(7).notice(1, "W"), False, "<B0000000186-R0007-W001@test.jp>"),
            (first.again(1).notice(1), True, "<B0000000186-R0001-E001@test.jp>"),
        ):
            self.assertEqual(self.parsed(self.compose(name=name, whole=whole))[0]["Message-Id"], expected)

    def test_delayed(self) -> None:
        """The warning says until when tries go on."""
        message, text, _, _ = self.parsed(self.compose(name=numbered(186).notice(1, "W"), until=WHEN + 86400))
        self.assertEqual(message["Subject"], "Delivery delayed")
        self.assertIn(
            "\r\n> 550 Please, mail from a valid IP or Domain address.\r\n\r\n"
            "Attempts go on until Tue, 07 Jul 2009 16:29:35 +0900. ",
            text.get_payload(),
        )

    def test_streams(self) -> None:
        """The original's parts are passed on as they are, not joined."""
        parts = [b"Subject: x\r\n\r\n", b"y" * 65536, b"z" * 65536]
        about = Subject(NAME, Envelope(BAITO, (USER2,)), "test.jp", {USER2: NO})
        passed = list(compose(about, lambda: iter(parts), WHEN).parts())
        self.assertTrue(all(a is b for a, b in zip(passed[1:-1], parts, strict=True)))
