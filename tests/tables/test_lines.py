"""Tests of L{epost.tables.lines}."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.fault import Fault
from epost.tables.lines import Line, lines


def read(data: bytes) -> tuple[list[tuple[int, str]], list[Fault]]:
    """Number and text of each line, and the faults."""
    faults: list[Fault] = []
    return [(line.number, line.text) for line in lines("t.dat", data, faults)], faults


class LinesTests(SynchronousTestCase):
    """Tables are taken as they are written, on Windows and elsewhere."""

    def test_encodings(self) -> None:
        """UTF-8 with and without BOM and Shift_JIS give the same text."""
        for data in ("日本.jp true".encode(), "日本.jp true".encode("utf-8-sig"), "日本.jp true".encode("cp932")):
            self.assertEqual(read(data), ([(1, "日本.jp true")], []))

    def test_lineEnds(self) -> None:
        """CRLF and LF end a line, and a missing end at the end of the file does no harm."""
        self.assertEqual(read(b"a\r\n\r\nb\nc"), ([(1, "a"), (3, "b"), (4, "c")], []))

    def test_endOfFile(self) -> None:
        """The Ctrl-Z with which DOS ends a file is no line and no part of one; lines may be added behind it."""
        for end in (b"\r\n\x1a", b"\x1a", b"\r\n\x1a\r\n"):
            self.assertEqual(read(b"a\tx" + end), ([(1, "a\tx")], []))
        self.assertEqual(read(b"a\t\r\n\x1a\nb\t"), ([(1, "a\t"), (3, "b\t")], []))

    def test_numbersAsAnEditorCounts(self) -> None:
        """U+2028, U+0085 and form feeds end no line."""
        self.assertEqual(read("' \u2028\x85\x0c\nb".encode()), ([(2, "b")], []))

    def test_comments(self) -> None:
        """A line whose first sign is ' is none, nor is a blank one."""
        self.assertEqual(read(b"' x\n   ' y\n \t \na 'b\n"), ([(4, "a 'b")], []))

    def test_commentsElsewhere(self) -> None:
        """Of a line that is wrong and begins with # it is said how a comment begins; of another it is not."""
        said = str(Line("t.dat", 1, " # x").fault("no x", "y"))
        self.assertEqual(said, "t.dat:1: no x, expected y; a comment begins with '")
        self.assertEqual(str(Line("t.dat", 1, "x # x").fault("no x", "y")), "t.dat:1: no x, expected y")
        self.assertEqual(str(Line("t.dat", 1, "# x").fault("odd", "")), "t.dat:1: odd")

    def test_leadingTab(self) -> None:
        """A TAB in front is kept: it is an empty column."""
        self.assertEqual(read(b"\tx\r\n"), ([(1, "\tx")], []))

    def test_utf16(self) -> None:
        """What Notepad calls Unicode is refused with a word about it."""
        found, faults = read("a true".encode("utf-16"))
        self.assertEqual(found, [])
        self.assertIn("t.dat:1: has NUL octets, as UTF-16 has, expected text", str(faults[0]))

    def test_noText(self) -> None:
        """Octets that are neither encoding are told with their line."""
        found, faults = read(b"a\nb\n\x81\xff\n")
        self.assertEqual((found, faults[0].line), ([], 3))
