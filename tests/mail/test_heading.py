"""What is counted in a header and added to it (spec 8)."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from epost.mail.heading import Heading

ADDED = {
    "message-id": b"Message-Id: <B0000000186@test.jp>\r\n",
    "date": b"Date: Mon, 06 Jul 2009 16:27:34 +0900\r\n",
    "from": b"From: baito@test.jp\r\n",
}
ALL = b"".join(ADDED.values())


def stored(content: bytes, sizes: int | None = None, missing: bool = True, limit: int = 100) -> tuple[bytes, Heading]:
    """What is stored of a content that comes in parts of some size."""
    heading = Heading(limit, ADDED if missing else None)
    size = sizes or max(len(content), 1)
    pieces: list[bytes] = []
    for start in range(0, len(content), size):
        pieces += heading.feed(content[start : start + size])
    pieces += heading.finish()
    return b"".join(pieces), heading


class HeadingTests(SynchronousTestCase):
    """L{Heading} looks at the header and leaves the rest alone."""

    def assertStored(self, content: bytes, expected: bytes) -> None:
        """The same is stored in whatever parts the content comes."""
        for size in (None, 1, 2, 3, 5, 7, 64):
            self.assertEqual(stored(content, size)[0], expected, f"in parts of {size}")

    def test_seed(self) -> None:
        """The seed's message, of which only the subject was written: the rest stands behind it, in the seed's order."""
        self.assertStored(b"subject:test4\r\n\r\nbody\r\n", b"subject:test4\r\n" + ALL + b"\r\nbody\r\n")

    def test_onlyWhatIsMissing(self) -> None:
        """A field that is there in any case, folded or with old blanks before the colon, is not added."""
        self.assertStored(
            b"FROM:\r\n a@b\r\ndate \t: now\r\n\r\nMessage-Id: in the body\r\n",
            b"FROM:\r\n a@b\r\ndate \t: now\r\n" + ADDED["message-id"] + b"\r\nMessage-Id: in the body\r\n",
        )

    def test_resemblanceIsNotEnough(self) -> None:
        """Fields that only begin alike, and texts within other fields, are not taken for the field."""
        content = b"From-Line: x\r\nX: From: y\r\n Date: z\r\n\r\n"
        self.assertStored(content, content[:-2] + ALL + b"\r\n")

    def test_nothingAsked(self) -> None:
        """Where nothing is to be added the content is passed on as the very same objects."""
        heading = Heading(100)
        parts = [b"subject:test4\r\n", b"\r\nbody\r\n", b"more\r\n"]
        passed = [piece for part in parts for piece in heading.feed(part)]
        self.assertEqual(b"".join(passed), b"".join(parts))
        self.assertTrue(heading.ended)
        self.assertIs(heading.feed(parts[2])[0], parts[2])

    def test_emptyHeader(self) -> None:
        """A content that begins with an empty line has an empty header."""
        self.assertStored(b"\r\nbody\r\n", ALL + b"\r\nbody\r\n")

    def test_noHeader(self) -> None:
        """A content without a header gets an empty line in front, so that no line of it is read as a field."""
        for content in (
            b"just text\r\nSubject: in the text\r\n",
            b" indented\r\n",
            b"\tSubject: x\r\n",
            b"<a:b> c\r\n"[1:2],
        ):
            self.assertStored(content, ALL + b"\r\n" + content)
            self.assertEqual(stored(content, missing=False)[0], b"\r\n" + content)

    def test_empty(self) -> None:
        """An empty content stays empty, but for what it must have."""
        self.assertStored(b"", ALL)
        self.assertEqual(stored(b"", missing=False)[0], b"")

    def test_headerAlone(self) -> None:
        """A header that nothing follows, not even an empty line, is complete all the same."""
        self.assertStored(b"Subject: x\r\n", b"Subject: x\r\n" + ALL)

    def test_endsAtTheFirstLineThatIsNoField(self) -> None:
        """A line that is neither a field nor a continuation ends the header, and what follows is body."""
        content = b"Subject: x\r\nnow the text\r\nReceived: y\r\n"
        self.assertStored(content, content[:12] + ALL + content[12:])
        self.assertEqual(stored(content)[1].received, 0)

    def test_countsReceived(self) -> None:
        """One Received field more than the limit is too many, however it is written and wherever the parts end."""
        for size in (None, 1, 3, 20):
            content = b"Received: a\r\n\tReceived: b\r\nRECEIVED : c\r\n"
            self.assertFalse(stored(content, size, limit=2)[1].tooMany)
            self.assertTrue(stored(content + b"received:d\r\n\r\n", size, limit=2)[1].tooMany)

    def test_receivedInTheMiddleOfALine(self) -> None:
        """A part that begins within a line begins no field."""
        heading = Heading(100)
        heading.feed(b"Subject: ")
        heading.feed(b"Received: x\r\nReceived: y\r\n")
        self.assertEqual(heading.received, 1)

    def test_boundedMemory(self) -> None:
        """Neither a header without end nor a first line without end is kept."""
        for begin, more in ((b"X: ", b"x" * 65536), (b"X: y\r\n", b" y\r\n" * 16384), (b"", b"x" * 65536)):
            heading = Heading(100, ADDED)
            given = passed = 0
            for part in (begin, *[more] * 20):
                given += len(part)
                passed += sum(map(len, heading.feed(part)))
                self.assertLess(given - passed, 1000)

    def test_headerOfManyFields(self) -> None:
        """A part full of fields is matched in one pass."""
        content = b"X-A: b\r\n" * 8000 + b"Date: x\r\n\r\nbody"
        self.assertEqual(stored(content, missing=False)[0], content)
        self.assertEqual(stored(content)[0], content[:-6] + ADDED["message-id"] + ADDED["from"] + b"\r\nbody")

    @given(
        st.lists(
            st.sampled_from(
                [
                    b"Received: x",
                    b"From: a",
                    b"date:",
                    b" more",
                    b"",
                    b"text",
                    b"Message-ID\t: <x>",
                    b"x:y",
                    b":",
                    b"\t",
                ]
            )
        ).map(lambda lines: b"".join(line + b"\r\n" for line in lines)),
        st.lists(st.integers(0, 200)),
    )
    def test_partsMakeNoDifference(self, content: bytes, cuts: list[int]) -> None:
        """In whatever parts a content comes, the same is stored, and the client's octets are all in it, in order."""
        whole, once = stored(content)
        heading = Heading(100, ADDED)
        pieces: list[bytes] = []
        edges = [0, *sorted(cut for cut in cuts if cut < len(content)), len(content)]
        for start, end in pairwise(edges):
            pieces += heading.feed(content[start:end])
        pieces += heading.finish()
        self.assertEqual(b"".join(pieces), whole)
        self.assertEqual(heading.received, once.received)
        without = whole.replace(ADDED["message-id"], b"").replace(ADDED["date"], b"").replace(ADDED["from"], b"")
        self.assertIn(without, (content, b"\r\n" + content))


class BlindTests(SynchronousTestCase):
    """Blind copies are taken out, and nothing else is."""

    def stored(self, content: bytes, size: int) -> bytes:
        """What is stored of a content that comes in parts of a size."""
        heading = Heading(100, None, blind=True)
        pieces = [piece for at in range(0, len(content), size) for piece in heading.feed(content[at : at + size])]
        return b"".join([*pieces, *heading.finish()])

    def test_takenOut(self) -> None:
        """Bcc and Resent-Bcc in any case, folded or not, wherever they stand in the header, however it is cut."""
        for blind in (
            b"Bcc: x@y\r\n",
            b"BCC \t: x@y,\r\n\tz@y,\r\n \r\n  w@y\r\n",
            b"resent-bcc:\r\n x@y\r\n",
            b"bcc:\r\n",
        ):
            for content in (
                b"%bTo: a@b\r\n\r\nBcc: in the body\r\n",
                b"To: a@b,\r\n c@d\r\n%bSubject: x\r\n\r\nbody\r\n",
                b"To: a@b\r\n%b\r\n",
                b"To: a@b\r\n%b",
                b"To: a@b\r\n%b%bX: y\r\n\r\n",
                b"%b\r\nbody",
                b"%bno field\r\nbody",
            ):
                whole = content.replace(b"%b", blind)
                for size in range(1, len(whole) + 1):
                    self.assertEqual(self.stored(whole, size), content.replace(b"%b", b""), (whole, size))

    def test_leftAlone(self) -> None:
        """What only looks alike: another field, a text within one, the body, a header that is none."""
        for content in (
            b"X-Bcc: a\r\nBcc-To: a\r\nSubject: Bcc: x\r\n bcc: y\r\n\r\n",
            b"To: a@b\r\n\r\n\r\nBcc: x\r\n",
            b"To: a@b\r\nno field\r\nBcc: x\r\n",
            b"To: a@b\r\nBcc\r\n",
        ):
            for size in range(1, len(content) + 1):
                self.assertEqual(self.stored(content, size), content, (content, size))

    def test_notAsked(self) -> None:
        """A server that only hands mail on takes nothing out."""
        content = b"Bcc: x@y\r\n\r\n"
        self.assertEqual(stored(content, 3, missing=False)[0], content)

    @settings(max_examples=300)
    @given(st.lists(st.sampled_from([b"Bcc:", b"bcc", b":", b" x", b"\r\n", b"\t", b"To: a", b"A" * 40]), max_size=12))
    def test_anyParts(self, words: list[bytes]) -> None:
        """Whatever a header is, the same is stored in whatever parts it comes."""
        content = b"".join(words) + b"\r\n"
        whole = self.stored(content, len(content))
        for size in (1, 2, 3, 7, 1000):
            self.assertEqual(self.stored(content, size), whole, size)
