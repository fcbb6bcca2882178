"""The reader of content, against a simple one that goes octet by octet."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from epost.smtp.data import DOTS, FEW, LINE_OCTETS, PART, MailData

OCTETS = st.lists(
    st.sampled_from([b"\r\n", b"\r\n.", b"\r\n.\r\n", b"\r", b"\n", b".", b"..", b"a", b"\x00", b"x" * 9]), max_size=40
).map(b"".join)
CUTS = st.lists(st.integers(0, 200), max_size=10)


def reference(data: bytes, repair: bool) -> tuple[bytes, bool, int] | None:
    """
    Content, whether a bare CR or LF is in it, and octets behind the end; None without an end.

    Line by line: the line ends are CRLF and, for repair, the bare ones.
    """
    at, out, bare, before = 0, b"", False, True  # before: whether CRLF ended the line before
    while True:
        end = at
        while data[end : end + 1] not in (b"\r", b"\n", b""):
            end += 1
        if end == len(data):
            return None
        crlf = data[end : end + 2] == b"\r\n"
        if crlf and before and data[at:end] == b".":
            return out, bare, len(data) - end - 2
        bare = bare or not crlf
        out += data[at:end].removeprefix(b".") + b"\r\n"
        before = crlf
        at = end + (2 if crlf else 1)


def read(data: bytes, cuts: list[int], repair: bool = False, limit: int = 0, long: bool = False) -> MailData:
    """Feed data in pieces; the content is left in C{got}."""
    reader = MailData(limit, repair, long)
    got = []
    for start, end in pairwise(sorted({0, *(c for c in cuts if c < len(data)), len(data)})):
        if reader.ended:
            reader.excess += end - start
        else:
            got.append(reader.feed(data[start:end]))
    Read.got = b"".join(got)
    return reader


class Read:
    """What L{read} got last."""

    got = b""


class MailDataTests(SynchronousTestCase):
    """L{MailData} finds the end of data and nothing else."""

    @given(OCTETS, CUTS, st.booleans())
    def test_reference(self, octets: bytes, cuts: list[int], repair: bool) -> None:
        """Any octets in any chunks give content, fault and end as the simple reader does."""
        data = octets + b"\r\n.\r\n"
        expected = reference(data, repair)
        reader = read(data, cuts, repair)
        self.assertTrue(reader.ended)
        content, bare, excess = expected
        self.assertEqual(reader.excess, excess)
        if bare and not repair:
            self.assertEqual(reader.fault.enhanced, "5.6.0")
        else:
            self.assertIsNone(reader.fault)
            self.assertEqual(Read.got, content)

    def test_manyDots(self) -> None:
        """However many dots stand before, in a chunk of any length, what a line begins with and the end are found."""
        for dots in (0, 1, DOTS - 1, DOTS, DOTS + 1, 3 * DOTS):
            for length in (0, FEW, 2 * FEW):
                data = b"a.b" * dots + b"\r\n" + b"x" * length + b"\r\n..stuffed\r\n.\r\nQUIT\r\n"
                reader = read(data, [])
                self.assertEqual((Read.got, reader.fault, reader.excess), (*reference(data, False)[:1], None, 6))

    @given(st.lists(st.text("ab.", max_size=5).map(str.encode)), CUTS)
    def test_roundTrip(self, lines: list[bytes], cuts: list[int]) -> None:
        """Stuffed as RFC 5321 4.5.2 says, every content comes back."""
        content = b"".join(line + b"\r\n" for line in lines)
        stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
        reader = read(stuffed + b".\r\nQUIT\r\n", cuts)
        self.assertEqual((Read.got, reader.fault, reader.excess), (content, None, 6))

    def test_lookalikes(self) -> None:
        """Nothing but CRLF.CRLF ends, and each of the others is a fault."""
        for end in (
            b"\n.\n",
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"\r.\r\n",
            b"\r\n.\r",
            b"\r\n.\r\r\n",
            b"\r\n.\x00\r\n",
        ):
            for cut in range(len(end)):
                reader = read(b"a" + end + b"b", [1 + cut])
                self.assertFalse(reader.ended, end)
                self.assertEqual(reader.fault is None, b"\x00" in end, end)

    def test_size(self) -> None:
        """The limit counts octets without stuffed dots, line ends included, up to the last."""
        for size, fault in ((10, None), (9, "5.3.4")):
            reader = read(b"..abc\r\ndef.\r\n.\r\n"[1:].replace(b"def.", b"d.."), [], limit=size)
            self.assertEqual(reader.fault and reader.fault.enhanced, fault)

    def test_longLines(self) -> None:
        """998 octets are taken, 999 are not; the stuffed dot does not count; chunks do not matter."""
        for length, faulty in ((LINE_OCTETS, False), (LINE_OCTETS + 1, True)):
            data = b"short\r\n.." + b"x" * (length - 1) + b"\r\nshort\r\n.\r\n"
            for step in (1, 7, 500, 5000):
                reader = read(data, list(range(0, len(data), step)), long=True)
                self.assertEqual(reader.fault is not None, faulty, (length, step))

    def test_verdictWithoutChunks(self) -> None:
        """A content with several faults is refused for the same one however it is cut."""
        data = b"x" * 2000 + b"\r\nbare\nlf\r\n.\r\n"
        for step in (1, 100, 5000):
            reader = read(data, list(range(0, len(data), step)), limit=100, long=True)
            self.assertEqual(reader.fault.lines, ("Message refused: a line does not end with CRLF.",))

    def test_partsAreBounded(self) -> None:
        """No part is longer than 64 KiB, not even where every octet becomes two."""
        for repair in (False, True):
            reader = MailData(0, repair, False)
            for _ in range(3):
                self.assertLessEqual(len(reader.feed((b"\n" if repair else b"x") * reader.room)), PART)
            reader.feed(b"\r\n.\r")
            self.assertLessEqual(len(reader.feed((b"\n" if repair else b"x") * reader.room)), PART)

    def test_nothingIsKept(self) -> None:
        """After a fault no content comes any more."""
        reader = MailData(0, False, False)
        reader.feed(b"bare\nlf")
        self.assertEqual(reader.feed(b"x" * 60000), b"")
        self.assertLessEqual(len(reader._held), 4)
