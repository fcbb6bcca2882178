"""
The daemon's log of what was refused, each time with the rule that decided it.

A line of the daemon's log costs as much as a third of the session that it is about, and the busiest hour of a mail
server is one of refusals. So the first of a second is told at once, and those that follow are told together.
"""

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from epost.mail.address import Address
from epost.mail.decision import Decision
from epost.mail.safe import safe

SECONDS = 1.0  # what is told together
MOST = 1000  # refusals that are kept for that


class Refusals:
    """Tells them."""

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._quiet = 0.0  # until when nothing is told
        self._texts: list[str] = []

    def tell(self, peer: str, verb: str, path: Address | None, decision: Decision, sender: str = "") -> None:
        """
        Something was refused. What comes from outside is made safe.

        @param peer: IP address.
        @param verb: C{MAIL} or C{RCPT}.
        @param path: L{None} is the null one.
        @param sender: in whose message, with a blank in front; empty where the path tells.
        """
        whom, said, why = safe(str(path or "")), safe(str(decision.reply)), safe(str(decision.because))
        self.say(f"{peer} {verb} <{whom}>{safe(sender)} refused: {said} by {why}")

    def say(self, text: str) -> None:
        """Tell something else that clients can bring about as often as they like. @param text: one that is safe."""
        now = self._clock.seconds()
        if now >= self._quiet and not self._texts:
            self._quiet = now + SECONDS
            self._log.info("{text}", text=text)
            return
        self._texts.append(text)
        if len(self._texts) == 1:
            self._clock.callLater(max(self._quiet - now, 0.0), self.flush)
        elif len(self._texts) >= MOST:
            self.flush()

    def flush(self) -> None:
        """Tell those that wait."""
        if self._texts:
            texts, self._texts = self._texts, []
            self._quiet = self._clock.seconds() + SECONDS
            self._log.info("{count} more:\n{texts}", count=len(texts), texts="\n".join(texts))
