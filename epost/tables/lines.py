"""
The text of a .dat table: its encoding, its lines, its comments.

Tables are written by hand, often on Windows and often years ago: UTF-8 with or without BOM, else CP932; CRLF or LF. A
comment begins with C{'}. Ctrl-Z at the end of a line, or alone in one, is passed over. What is wrong is collected as
L{Fault}s; a table with a fault is refused whole by whoever asked for it (spec 3, 5).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from epost.mail.fault import Fault

ENCODING = "text in UTF-8 or Shift_JIS (CP932)"
END = "\x1a"  # Ctrl-Z, with which DOS ended a file


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line that says something.

    @ivar file: the table's name as configured.
    @ivar number: from 1.
    @ivar text: all of it, blanks and TABs in front included, without its end.
    """

    file: str
    number: int
    text: str

    def fault(self, why: str, expected: str) -> Fault:
        """A fault at this line; to whoever comments as elsewhere it says how it is done here."""
        if expected and self.text.lstrip().startswith("#"):
            expected += "; a comment begins with '"
        return Fault(self.file, self.number, why, expected)


def decoded(file: str, data: bytes) -> str | Fault:
    """The text of a table, or why it is none."""
    if b"\0" in data:  # what Notepad calls Unicode is UTF-16, and CP932 would take most of it
        return Fault(file, data.count(b"\n", 0, data.index(b"\0")) + 1, "has NUL octets, as UTF-16 has", ENCODING)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = error.start
    try:
        return data.decode("cp932")
    except UnicodeDecodeError:
        return Fault(file, data.count(b"\n", 0, place) + 1, "is neither UTF-8 nor Shift_JIS", ENCODING)


def lines(file: str, data: bytes, faults: list[Fault]) -> Iterator[Line]:
    """
    The lines of a table but comments and blank ones.

    @param file: its name as configured.
    @param faults: gets what is wrong with the text as such; then there are no lines.
    """
    text = decoded(file, data)
    if isinstance(text, Fault):
        faults.append(text)
        return
    # Not splitlines: it would also cut at U+2028, U+0085 and form feeds, and count other lines than an editor does.
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r" + END)
        content = line.strip()
        if content and not content.startswith("'"):
            yield Line(file, number, line)
