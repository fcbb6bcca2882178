"""
E-Post's own logs, senderlog and receivelog, in E-Post's own lines (spec 6 and 7; the seed's listings).

    senderlog/090706.log      [16:27:35:001] [B0000000186] ConnectHost(192.168.0.103)
    receivelog/090706.log     [06/Jul/2009:16:27:31], 00153008, HELO test.jp

One file for each local day. Lines wait in memory for at most a second, so that a line costs about a microsecond; those
of receivelog, ten for each message, wait as they were said and are written out together. What comes from outside is
made safe: it cannot end a line or begin another. A disk that does not take the log never stops mail: the daemon's own
log says so, and how many lines are missing when it takes it again, each once a minute at most.
"""

import os
import time
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from epost.interfaces import IReceiveLog, ISenderLog
from epost.mail.address import Address
from epost.mail.name import Name
from epost.mail.reply import Reply
from epost.mail.safe import LONGEST, safe
from epost.storage.trouble import QUIET, Trouble

BATCH = 65536  # characters that are written without waiting for the second to end
LOT = 64  # times that something was said, kept as it was
EPOCH = 11644473600  # 1970-01-01 as seconds since 1601-01-01, in which itime and otime count

_CLOSED = ("CloseClient Started.:SOCKET.C", "closesocket():SOCKET.C")
_texts = itemgetter(1)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # whatever the locale


class Journal:
    """
    Lines into one file a day.

    @param folder: where the files lie; it is made where it is missing.
    @param clock: tells the time, and when a second is over.
    """

    _log = Logger()

    def __init__(self, folder: str, clock: IReactorTime) -> None:
        self._folder = folder
        self._clock = clock
        self._lines: list[str] = []
        self._held = 0
        self._timer: IDelayedCall | None = None
        self._path = ""
        self._day = (0.0, 0.0)  # its first second, and the next day's
        self._torn = False
        self._missing = 0
        self._told = float("-inf")  # when the log heard of them last
        self._trouble = Trouble(clock.seconds)

    def add(self, now: float, line: str) -> None:
        """Take a line. @param line: ended by LF; safe."""
        if not self._day[0] <= now < self._day[1]:
            self.flush()  # those are of another day
            self._turn(now)
        self._lines.append(line)
        self._held += len(line)
        if self._timer is None:
            self._timer = self._clock.callLater(1.0, self.flush)
        elif self._held >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            if self._timer.active():
                self._timer.cancel()
            self._timer = None
        if self._lines:
            lines, self._lines, self._held = self._lines, [], 0
            text = "".join(lines)
            try:
                self._write(text)
            except OSError as error:
                self._trouble.tell(self._log, self._path, "mail goes on without this log", error)
                self._missing += text.count("\n")
                return
            now = self._clock.seconds()
            if self._missing and not 0 <= now - self._told < QUIET:  # a disk that is all but full takes some lines
                self._log.warn("{path}: {count} lines are missing", path=self._path, count=self._missing)
                self._missing, self._told = 0, now

    def _write(self, text: str) -> None:
        """Add to the file; opened each time, so that an operator may move it away."""
        octets = text.encode("utf-8")
        if self._torn:
            octets = b"\n" + octets
        descriptor = self._open()
        try:
            while octets:
                octets = octets[os.write(descriptor, octets) :]
                self._torn = bool(octets)  # a full disk took a part: the next line begins on a new one
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        """The day's file; the folder is made anew where somebody removed it."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o640)
        except FileNotFoundError:
            os.makedirs(self._folder)
            return os.open(self._path, flags, 0o640)

    def _turn(self, now: float) -> None:
        """Another day."""
        day = time.localtime(now)
        first = time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))
        following = time.mktime((day.tm_year, day.tm_mon, day.tm_mday + 1, 0, 0, 0, 0, 0, -1))
        self._day = (first, following)
        self._path = f"{self._folder}/{time.strftime('%y%m%d', day)}.log"


class _Log:
    """What both logs have: a journal, and the time of the last line as it is written."""

    def __init__(self, folder: str, clock: IReactorTime) -> None:
        os.makedirs(folder, exist_ok=True)
        self._clock = clock
        self._journal = Journal(folder, clock)
        self.flush = self._journal.flush  # at stop
        self._second = -1
        self._prefix = ""


@implementer(ISenderLog)
class SenderLog(_Log):
    """What was sent (spec 6)."""

    def _stamp(self, now: float) -> str:
        """C{HH:MM:SS:mmm}, local time."""
        second, thousandth = divmod(int(now * 1000 + 0.001), 1000)  # the float next to .111 lies below it
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%H:%M:%S", time.localtime(second))
        return f"{self._prefix}:{thousandth:03d}"

    def trying(self, name: Name, domain: str, now: float, then: float, tries: int) -> None:
        """Three lines."""
        time = self._clock.seconds()
        front = f"[{self._stamp(time)}] [{name}] [{safe(domain)}] GetTryServer:("
        counted = f"{front}itime({int(now) + EPOCH})-otime({int(then) + EPOCH}))/240=({tries})\n"
        self._journal.add(time, f"{front}0)\n{counted}{front}0)\n")

    def connecting(self, name: Name, host: str) -> None:
        """One line."""
        now = self._clock.seconds()
        self._journal.add(now, f"[{self._stamp(now)}] [{name}] ConnectHost({safe(host)})\n")

    def heard(self, name: Name, reply: Reply) -> None:
        """A line for each of the reply's."""
        now = self._clock.seconds()
        stamp = self._stamp(now)
        for line in reply.written(enhanced=True):
            self._journal.add(now, f"[{stamp}] [{name}] SendMailMess:[{stamp}] {safe(line)}\n")

    def said(self, name: Name, command: str) -> None:
        """One line."""
        now = self._clock.seconds()
        self._journal.add(now, f"[{self._stamp(now)}] [{name}] SendMailMess:{safe(command)}\n")

    def returning(
        self, name: Name, sender: Address, domain: str, server: str, now: float, then: float, tries: int
    ) -> None:
        """Four lines. The notice has one recipient, so its number is 001."""
        time = self._clock.seconds()
        stamp = self._stamp(time)
        domain = safe(domain)
        returns = f"[{stamp}] [{name.stem}-001]:ReturnMail Start:"
        tried = f"[{stamp}] [{name}] [{domain}] GetTryServer:("
        self._journal.add(
            time,
            f"{returns}RCPT To:{safe(sender.text)}\n"
            f"{tried}0)\n"
            f"{tried}itime({int(now) + EPOCH})-otime({int(then) + EPOCH}))/240=({tries})\n"
            f"{returns}domain:[{domain}] smtp server:[{safe(server)}]\n",
        )


@implementer(IReceiveLog)
class ReceiveLog(_Log):
    """What was received (spec 7)."""

    def __init__(self, folder: str, clock: IReactorTime) -> None:
        super().__init__(folder, clock)
        self._said: list[tuple[int, Sequence[str]]] = []  # in this second: by which connection, what
        self._timer: IDelayedCall | None = None
        self.flush = self._flush

    def lines(self, connection: int, texts: Sequence[str]) -> None:
        """A line for each."""
        if not texts:
            return
        second = int(self._clock.seconds())
        if second != self._second:
            self._settle()
            self._turn(second)
        self._said.append((connection, texts))
        if self._timer is None:
            self._timer = self._clock.callLater(1.0, self._flush)
        elif len(self._said) >= LOT:
            self._settle()

    def closed(self, connection: int, texts: Sequence[str] = ()) -> None:
        """Two lines more."""
        self.lines(connection, (*texts, *_CLOSED) if texts else _CLOSED)

    def _settle(self) -> None:
        """Write out what was said in a second."""
        said, self._said = self._said, []
        if not said:
            return
        every = [*chain.from_iterable(map(_texts, said))]
        whole = "".join(every)
        if not (whole.isascii() and whole.isprintable() and len(max(every, key=len)) <= LONGEST):
            said = [(connection, [safe(text) for text in texts]) for connection, texts in said]
        written: list[str] = []
        for connection, texts in said:
            front = f"\n{self._prefix}{connection & 0xFFFFFFFF:08x}, "  # its last 32 bits
            written += front, front.join(texts)
        self._journal.add(self._second, "".join(written)[1:] + "\n")

    def _flush(self) -> None:
        """All is to be in the file."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._settle()
        self._journal.flush()

    def _turn(self, second: int) -> None:
        """Another second."""
        self._second = second
        at = time.localtime(second)
        month = _MONTHS[at.tm_mon - 1]
        self._prefix = f"[{at.tm_mday:02d}/{month}/{at.tm_year}:{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}], "
