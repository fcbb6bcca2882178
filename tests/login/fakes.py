"""Fakes for tests of those who ask who a client is. Each claims its interface."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from epost.interfaces import Challenge, ILogin, ILogins, IWorkers, Outcome
from epost.login.sasl import Binding
from epost.mail.address import Address
from epost.mail.decision import Client
from epost.mail.reply import Refused, Reply
from epost.smtp import wording


@implementer(IWorkers)
class Hands:
    """
    Workers without threads.

    @ivar held: whether functions wait for L{work}.
    @ivar done: how many were run.
    @ivar busy: whether nothing more is taken.
    """

    def __init__(self, held: bool = False) -> None:
        self.held = held
        self.done = 0
        self.busy = False
        self.stopped = False
        self._given: list[Callable[[], object]] = []

    def run(self, function: Callable[..., object], *arguments: object) -> "Deferred[object]":
        """See L{IWorkers}."""
        if self.busy:
            raise Refused(wording.loginsBusy())
        result: Deferred[object] = Deferred()

        def work() -> None:
            self.done += 1
            maybeDeferred(function, *arguments).chainDeferred(result)

        self._given.append(work)
        if not self.held:
            self.work()
        return result

    def work(self) -> None:
        """Run what waits."""
        given, self._given = self._given, []
        for work in given:
            work()

    def stop(self) -> None:
        """See L{IWorkers}."""
        self.stopped = True


@implementer(ILogin)
class OneLogin:
    """A login of L{Anybody}."""

    def __init__(self, anybody: "Anybody") -> None:
        self._anybody = anybody

    def step(self, response: bytes | None) -> "Challenge | Outcome | Deferred[Challenge | Outcome]":
        """See L{ILogin}."""
        if response is None:
            return Challenge(b"")
        account = self._anybody.known.get(response)
        return Outcome(wording.loggedIn(), account) if account else Outcome(wording.badCredentials())

    def over(self) -> Reply | None:
        """See L{ILogin}."""
        return wording.loginOver("mx.test") if self._anybody.changed else None


@implementer(ILogins)
class Anybody:
    """
    Offers PLAIN alone, on every connection.

    @ivar known: who is logged in by which PLAIN message.
    @ivar changed: whether all accounts have changed, so that nobody is welcome who logged in before.
    """

    def __init__(self, known: dict[bytes, Address] | None = None) -> None:
        self.known = known or {}
        self.changed = False

    def mechanisms(self, client: Client, binding: Binding | None = None) -> tuple[str, ...]:
        """See L{ILogins}."""
        return ("PLAIN",)

    def begin(self, mechanism: str, client: Client, binding: Binding | None = None, service: str = "smtp") -> OneLogin:
        """See L{ILogins}."""
        if mechanism.upper() != "PLAIN":
            raise Refused(wording.unknownMechanism())
        return OneLogin(self)
