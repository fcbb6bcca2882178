"""
The text of an accounts.dat, changed line by line: comments, order, encoding and line ends stay as they are.

Work is done on octets: neither in UTF-8 nor in CP932 is an octet of LF, CR or TAB ever a part of another character, so
what is not touched stays as it is to the last octet. Line numbers are those of L{epost.tables.lines}.
"""

import codecs
from collections.abc import Mapping

from epost.control.terminal import Failure, oneLine
from epost.mail.address import Address
from epost.mail.fault import Fault
from epost.tables.accounts import COLUMNS
from epost.tables.lines import decoded

CLOSED = dict.fromkeys(("SMTPauthflag", "POP3", "IMAP4"), "0")  # with all of them 0 nobody logs in


class AccountFile:
    """The lines of an accounts.dat."""

    def __init__(self, name: str, octets: bytes) -> None:
        """@param name: as configured. @raise Failure: the file is no text."""
        text = decoded(name, octets)
        if isinstance(text, Fault):
            raise Failure(str(text))
        self._name = name
        self._mark = codecs.BOM_UTF8 if octets.startswith(codecs.BOM_UTF8) else b""
        self._lines = octets[len(self._mark) :].split(b"\n")
        self._end = b"\r" if self._lines[0].endswith(b"\r") else b""
        try:
            octets.decode("utf-8")
            self._encoding = "utf-8"
        except UnicodeDecodeError:
            self._encoding = "cp932"

    def octets(self) -> bytes:
        """The whole file."""
        return self._mark + b"\n".join(self._lines)

    def line(self, number: int) -> dict[str, bytes]:
        """The columns of a line, as far as they stand there."""
        columns = self._lines[number - 1].rstrip(b"\r").split(b"\t")
        return dict(zip(COLUMNS, columns, strict=False))

    def put(self, number: int, values: Mapping[str, str]) -> None:
        """Change columns of a line."""
        old = self._lines[number - 1]
        end = old[len(old.rstrip(b"\r")) :]
        self._lines[number - 1] = self._joined(self.line(number), values) + end

    def add(self, values: Mapping[str, str]) -> None:
        """A new line at the end."""
        if self._lines[-1]:
            self._lines[-1] = self._lines[-1].rstrip(b"\r") + self._end
            self._lines.append(b"")
        self._lines[-1:] = [self._joined({}, values) + self._end, b""]

    def double(self, number: int, values: Mapping[str, str]) -> None:
        """A line once more behind itself, with other values in it."""
        if number == len(self._lines):
            self._lines[-1:] = [self._lines[-1] + self._end, b""]
        self._lines.insert(number, self._lines[number - 1])
        self.put(number + 1, values)

    def remove(self, number: int) -> None:
        """Take a line out."""
        del self._lines[number - 1]

    def _joined(self, columns: dict[str, bytes], values: Mapping[str, str]) -> bytes:
        """A line."""
        columns = columns | {column: self._encoded(column, value) for column, value in values.items()}
        last = max((n for n, column in enumerate(COLUMNS) if column in columns), default=0)
        return b"\t".join(columns.get(column, b"") for column in COLUMNS[: max(last + 1, 2)])

    def _encoded(self, column: str, value: str) -> bytes:
        """A value as the file has it."""
        try:
            return oneLine(column, value).encode(self._encoding)
        except UnicodeEncodeError as error:
            sign = value[error.start]
            raise Failure(
                f"{self._name} is Shift_JIS (CP932), which has no {sign}: save the file as UTF-8 first, or leave it out"
            ) from None


def named(address: Address) -> dict[str, str]:
    """The columns that name an account."""
    local, _, domain = address.text.rpartition("@")
    return {"Account": local, "Domain": domain}
