"""Octets of replies, and the buffer of command lines."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from epost.mail.reply import Reply
from epost.smtp.wire import Unread, spoken

LIMIT = 16


def lines(chunks: list[bytes]) -> list[bytes]:
    """All lines that come out while these chunks go in."""
    unread, found = Unread(LIMIT), []
    for chunk in chunks:
        unread.add(chunk)
        while (line := unread.line()) is not None:
            found.append(line)
    return found


class UnreadTests(SynchronousTestCase):
    """L{Unread} finds command lines wherever octets are cut."""

    def test_crlfAlone(self) -> None:
        """CRLF ends a line; a bare CR, a bare LF and their wrong order are octets of it."""
        self.assertEqual(lines([b"a\nb\r\n\r\nc\rd\n\re\r\r\nf"]), [b"a\nb", b"", b"c\rd\n\re\r"])

    def test_limit(self) -> None:
        """A line of the limit with its CRLF comes whole; a longer one comes once, cut, longer than any that fits."""
        fits, over, far = b"x" * (LIMIT - 2), b"x" * (LIMIT - 1), b"x" * 1000
        self.assertEqual(
            lines([fits + b"\r\n" + over + b"\r\n" + far + b"\r\nok\r\n"]), [fits, over, far[:LIMIT], b"ok"]
        )

    def test_boundedMemory(self) -> None:
        """Of a line that never ends no more is kept than the limit and one octet."""
        unread = Unread(LIMIT)
        for _ in range(1000):
            unread.add(b"x" * 999 + b"\r")
            self.assertIsNone(unread.line())
            self.assertLessEqual(len(unread), LIMIT + 1)

    def test_idleHoldsNothing(self) -> None:
        """What is read is not kept: an idle session costs none of the large read before it."""
        unread = Unread(LIMIT)
        unread.add(b"x" * 60000 + b"\r\nhalf")
        unread.line()
        self.assertIsNone(unread.line())
        self.assertEqual((len(unread), unread.octets), (4, b"half"))

    def test_takeAndBack(self) -> None:
        """Octets that content did not need are lines again."""
        unread = Unread(LIMIT)
        unread.add(b"DATA\r\ncontent\r\n.\r\nQUIT\r\n")
        self.assertEqual(unread.line(), b"DATA")
        self.assertEqual(unread.take(3), b"con")
        self.assertEqual(unread.take(100), b"tent\r\n.\r\nQUIT\r\n")
        unread.back(b"QUIT\r\n")
        self.assertEqual(unread.line(), b"QUIT")
        self.assertEqual(unread.take(100), b"")

    @given(st.lists(st.text("ab\r\n", max_size=24).map(str.encode), max_size=12))
    def test_chunksDoNotMatter(self, chunks: list[bytes]) -> None:
        """Any chunking gives the lines that a split at CRLF gives, cut to the limit."""
        data = b"".join(chunks)
        expected = [line if len(line) <= LIMIT - 2 else line[:LIMIT] for line in data.split(b"\r\n")[:-1]]
        self.assertEqual(lines(chunks), expected)
        self.assertEqual(lines([bytes([octet]) for octet in data]), expected)


class ReplyTests(SynchronousTestCase):
    """Replies as octets."""

    def test_severalLines(self) -> None:
        """Each line has the code, the last one behind a blank; the enhanced code stands where it was announced."""
        reply = Reply(550, ("one", "two"), "5.7.1")
        self.assertEqual(spoken(reply, True)[1], b"550-5.7.1 one\r\n550 5.7.1 two\r\n")
        self.assertEqual(spoken(reply, False)[1], b"550-one\r\n550 two\r\n")

    def test_noForgedLine(self) -> None:
        """A text with a line end in it, heard from another server, stays one line."""
        self.assertEqual(
            spoken(Reply(550, ("no\r\n250 ok\udcff",)), True), (["550 no??250 ok?"], b"550 no??250 ok?\r\n")
        )

    def test_longLine(self) -> None:
        """No line is longer than 512 octets (RFC 5321 4.5.3.1.5), in whatever script it is written."""
        self.assertEqual(len(spoken(Reply(550, ("x" * 600,)), True)[1]), 512)
        for text in ("\u3042" * 127, "\U0001f4ee" * 128):
            self.assertLessEqual(len(spoken(Reply(550, (text,)), True)[1]), 512)
