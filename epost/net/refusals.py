"""
The daemon's log of what was refused, each time with the rule that decided it.

A line of the daemon's log costs as much as a third of the session that it is about, and the busiest hour of a mail
server is one of refusals. So the first of a second is told at once, and those that follow are told together.

Connections that come to nothing cost a stranger less than a line costs the disk, so of them not all are told: of each
range of addresses the first of a minute, and how many more there were.
"""

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from epost.mail.address import Address
from epost.mail.decision import Decision
from epost.mail.safe import safe
from epost.net.crowd import owners

SECONDS = 1.0  # what is told together
MOST = 1000  # refusals that are kept for that
MINUTE = 60.0  # in which a range is told once for each kind
RANGES = 100  # of addresses, with kinds, that are told in it; a botnet has more


class Refusals:
    """Tells them."""

    _log = Logger()
    _minute: IDelayedCall  # ends it, where there are counts

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._quiet = 0.0  # until when nothing is told
        self._texts: list[str] = []
        self._counts: dict[tuple[str, str], int] = {}  # by range and kind: how many are not told

    def tell(self, peer: str, verb: str, path: Address | None, decision: Decision, sender: str = "") -> None:
        """
        Something was refused. What comes from outside is made safe.

        @param peer: IP address.
        @param verb: C{MAIL} or C{RCPT}.
        @param path: L{None} is the null one.
        @param sender: in whose message, with a blank in front; empty where the path tells.
        """
        whom, said, why = str(path or ""), str(decision.reply), str(decision.because)
        text = f"{peer} {verb} <{whom}>{sender} refused: {said} by {why}"
        if safe(text) is not text:  # seldom: then what is odd or long takes nothing from the other parts
            text = f"{peer} {verb} <{safe(whom)}>{safe(sender)} refused: {safe(said)} by {safe(why)}"
        now = self._clock.seconds()
        if now >= self._quiet and not self._texts:
            self._quiet = now + SECONDS
            self._log.info("{text}", text=text)
            return
        self._texts.append(text)
        if len(self._texts) == 1:
            self._clock.callLater(max(self._quiet - now, 0.0), self._tellTexts)
        elif len(self._texts) >= MOST:
            self._tellTexts()

    def seldom(self, peer: str, kind: str, why: str = "") -> None:
        """
        A connection has come to nothing, which strangers can bring about without end.

        @param peer: IP address.
        @param kind: in words; there are few of them.
        @param why: what is told of the first alone; safe.
        """
        if not self._counts:
            self._minute = self._clock.callLater(MINUTE, self._tellCounts)
        key = owners(peer)[0], kind
        if key not in self._counts:
            if len(self._counts) < RANGES:
                self._counts[key] = 0
                self._log.info("{peer} {kind}{why}", peer=peer, kind=kind, why=why and f": {why}")
                return
            key = "elsewhere", kind
        self._counts[key] = self._counts.get(key, 0) + 1

    def flush(self) -> None:
        """Tell all that waits."""
        self._tellTexts()
        self._tellCounts()

    def _tellTexts(self) -> None:
        if self._texts:
            texts, self._texts = self._texts, []
            self._quiet = self._clock.seconds() + SECONDS
            self._log.info("{count} more:\n{texts}", count=len(texts), texts="\n".join(texts))

    def _tellCounts(self) -> None:
        counts, self._counts = self._counts, {}
        if counts and self._minute.active():
            self._minute.cancel()
        for (where, kind), count in counts.items():
            if count:
                self._log.info("{count} more from {where}: {kind}", count=count, where=where, kind=kind)
