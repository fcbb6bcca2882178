"""Whether the next hop would take a recipient."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from epost.interfaces import ICarrier, IChannel, IRouter
from epost.mail.address import Address, parseAddress
from epost.mail.decision import Decision
from epost.mail.reply import Reply
from epost.mail.route import Hop, Nowhere, Onward, Route
from epost.verify import AT_ONCE, Verifier

BACKEND = Onward("127.0.0.1:2525", (Hop("127.0.0.1", 2525),), forwards=True)
UNKNOWN = Reply(550, ("<x@test.jp> ... User unknown.",))


@implementer(ICarrier)
class Oracle:
    """A carrier whose probes wait for the test."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[Reply]]] = []

    def channel(self, route: Onward) -> IChannel:
        raise AssertionError("nothing is sent")

    def probe(self, route: Onward, address: Address) -> "Deferred[Reply]":
        answer: Deferred[Reply] = Deferred()
        self.asked.append((str(address), answer))
        return answer


@implementer(IRouter)
class OneWay:
    """Everything goes one way."""

    def __init__(self, route: Route) -> None:
        self.way = route

    def expand(self, address: Address) -> tuple[Address, ...]:
        return (address,)

    def route(self, address: Address) -> Route:
        return self.way


class VerifierTests(SynchronousTestCase):
    """L{Verifier} asks once and remembers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.oracle = Oracle()
        self.verifier = Verifier(OneWay(BACKEND), self.oracle, self.clock, positive=3600, negative=300)

    def ask(self, text: str) -> "Decision | Deferred[Decision]":
        return self.verifier(parseAddress(text))

    def decided(self, text: str, reply: Reply) -> Decision:
        """Ask about an address that nobody asked about, and let the next hop say C{reply}."""
        answer = self.ask(text)
        assert isinstance(answer, Deferred)
        self.oracle.asked[-1][1].callback(reply)
        return self.successResultOf(answer)

    def test_fakes(self) -> None:
        """The parts of this test claim their roles."""
        verifyObject(ICarrier, self.oracle)
        verifyObject(IRouter, OneWay(BACKEND))

    def test_unknownUser(self) -> None:
        """A 5xx of the next hop refuses in our own words, and the decision says who answered what."""
        decision = self.decided("x@test.jp", UNKNOWN)
        self.assertEqual(decision.reply, Reply(550, ("<x@test.jp> ... User unknown.",), "5.1.1"))
        self.assertEqual(
            str(decision.because), 'verification "127.0.0.1:2525 answered 550 <x@test.jp> ... User unknown."'
        )

    def test_answerIsMadeSafe(self) -> None:
        """What the next hop wrote goes into the log without an octet that a terminal would obey."""
        decision = self.decided("x@test.jp", Reply(550, ("\x1b[2J\r\x07\udcff",)))
        self.assertEqual(decision.because.text, "127.0.0.1:2525 answered 550 \\x1b[2J\\x0d\\x07\\xff")

    def test_noAnswerAccepts(self) -> None:
        """A next hop that does not answer, or not now, does not turn mail away, and is asked again the next time."""
        self.assertTrue(self.decided("x@test.jp", Reply(451, ("connection refused",))).accepts)
        self.assertIsInstance(self.ask("x@test.jp"), Deferred)
        self.assertEqual(len(self.oracle.asked), 2)

    def test_remembersBoth(self) -> None:
        """A yes is remembered for an hour and a no for five minutes."""
        self.decided("yes@test.jp", Reply(250, ("ok",)))
        self.decided("no@test.jp", UNKNOWN)
        self.clock.advance(299)
        yes, no = self.ask("YES@test.jp"), self.ask("no@TEST.jp")
        assert isinstance(yes, Decision) and isinstance(no, Decision)
        self.assertEqual((yes.accepts, no.accepts), (True, False))
        self.clock.advance(2)
        self.assertIsInstance(self.ask("no@test.jp"), Deferred)
        self.assertIsInstance(self.ask("yes@test.jp"), Decision)

    def test_asksOnce(self) -> None:
        """Who is asked about while the probe is under way shares its answer."""
        first, second = self.ask("x@test.jp"), self.ask("X@test.jp")
        self.assertEqual(len(self.oracle.asked), 1)
        self.oracle.asked[0][1].callback(UNKNOWN)
        assert isinstance(first, Deferred) and isinstance(second, Deferred)
        self.assertEqual(self.successResultOf(first), self.successResultOf(second))

    def test_fewAtOnce(self) -> None:
        """A flood of unknown recipients does not become a flood of probes."""
        for number in range(AT_ONCE + 5):
            self.ask(f"x{number}@test.jp")
        self.assertEqual(len(self.oracle.asked), AT_ONCE)
        self.oracle.asked[0][1].callback(UNKNOWN)
        self.assertEqual(len(self.oracle.asked), AT_ONCE + 1)

    def test_aDefectAccepts(self) -> None:
        """A probe that fails by a defect of ours is logged and turns nobody away."""
        answer = self.ask("x@test.jp")
        assert isinstance(answer, Deferred)
        self.oracle.asked[0][1].errback(ZeroDivisionError())
        self.assertTrue(self.successResultOf(answer).accepts)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_forget(self) -> None:
        """When the tables have changed everybody is asked about anew."""
        self.decided("x@test.jp", UNKNOWN)
        self.verifier.forget()
        self.assertIsInstance(self.ask("x@test.jp"), Deferred)

    def test_nobodyToAsk(self) -> None:
        """Where mail is held, or has no way, there is nobody to ask."""
        verifier = Verifier(OneWay(Nowhere(UNKNOWN)), self.oracle, self.clock, 1, 1)
        decision = verifier(parseAddress("x@test.jp"))
        assert isinstance(decision, Decision)
        self.assertTrue(decision.accepts)
