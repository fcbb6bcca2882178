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
from epost.smtp import wording
from epost.verify import AT_ONCE, EACH, SILENT_SECONDS, Verifier

BACKEND = Onward("127.0.0.1:2525", (Hop("127.0.0.1", 2525),), forwards=True)
OTHER = Onward("192.0.2.1:25", (Hop("192.0.2.1"),), forwards=True)
SILENT = Reply(451, ("127.0.0.1:2525: no answer within 20 s",), "4.4.1")
UNKNOWN = Reply(550, ("<x@test.jp> ... User unknown.",))


@implementer(ICarrier)
class Oracle:
    """A carrier whose probes wait for the test."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[Reply]]] = []
        self.answer: Reply | None = None  # at once

    def channel(self, route: Onward) -> IChannel:
        raise AssertionError("nothing is sent")

    def probe(self, route: Onward, address: Address, sender: Address | None) -> "Deferred[Reply]":
        answer: Deferred[Reply] = Deferred()
        self.asked.append((f"{address}" if sender is None else f"{address} for {sender}", answer))
        if self.answer is not None:
            answer.callback(self.answer)
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
        self.way = OneWay(BACKEND)
        self.verifier = Verifier(self.way, self.oracle, self.clock, positive=3600, negative=300)

    def ask(self, text: str, sender: str | None = "a@outside.jp") -> "Decision | Deferred[Decision]":
        return self.verifier(parseAddress(text), None if sender is None else parseAddress(sender))

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

    def test_otherRefusals(self) -> None:
        """A 5xx for another reason than the user is about the probe, or what may be sent; the message will see."""
        for number, text in enumerate(("5.4.6 it goes round in a loop", "5.7.1 no null sender", "5.3.4 too big")):
            self.assertTrue(self.decided(f"y{number}@test.jp", Reply(554, (text,))).accepts, text)
        for number, text in enumerate(("5.1.1 unknown", "5.1.10 null MX", "5.2.1 disabled", "no", "5.0.0 no")):
            self.assertFalse(self.decided(f"z{number}@test.jp", Reply(550, (text,))).accepts, text)

    def test_full(self) -> None:
        """A full mailbox is refused for now, or its mail would wait here; whether it still is, is asked each time."""
        for code in (450, 452):
            decision = self.decided("full@test.jp", Reply(code, ("4.2.2 Sorry. e-mail address box is full.",)))
            self.assertEqual(decision.reply, wording.boxFull())
            self.assertIn(f"answered {code} 4.2.2", decision.because.text)
        self.assertTrue(self.decided("full@test.jp", Reply(250, ("ok",))).accepts)
        self.assertEqual(len(self.oracle.asked), 3)
        for text in ("4.2.1 disabled", "4.7.1 too much", "no word", "4.2.20 no such code"):
            self.assertTrue(self.decided("other@test.jp", Reply(450, (text,))).accepts, text)

    def test_answerIsMadeSafe(self) -> None:
        """What the next hop wrote goes into the log without an octet that a terminal would obey."""
        decision = self.decided("x@test.jp", Reply(550, ("\x1b[2J\r\x07\udcff",)))
        self.assertEqual(decision.because.text, "127.0.0.1:2525 answered 550 \\x1b[2J\\x0d\\x07\\xff")

    def test_noAnswerAccepts(self) -> None:
        """A next hop that does not know now does not turn mail away, and is asked again the next time."""
        self.assertTrue(self.decided("x@test.jp", Reply(451, ("4.4.1 try later",))).accepts)
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

    def test_forTheSender(self) -> None:
        """
        Where the next hop cannot tell without a sender it is asked with each, once; what it refuses is refused here, or
        it would come back to a sender whom anybody can forge. Who may write is remembered no longer than who may not.
        """
        staff, alone = "staff@test.jp", Reply(252, ("takes mail of some senders alone.",))
        one, again, two = self.ask(staff), self.ask(staff), self.ask(staff, "B@outside.jp")
        null = self.ask(staff, None)
        self.oracle.asked[0][1].callback(alone)
        asked = [text for text, _ in self.oracle.asked]
        self.assertEqual(asked, [staff, f"{staff} for a@outside.jp", f"{staff} for B@outside.jp"])
        self.oracle.asked[1][1].callback(Reply(550, ("5.7.1 no posting",)))
        self.oracle.asked[2][1].callback(Reply(250, ("ok",)))
        answers = []
        for each in (one, again, two, null):
            assert isinstance(each, Deferred)
            answers.append(self.successResultOf(each))
        self.assertEqual([answer.reply.code for answer in answers], [550, 550, 250, 252])
        self.assertEqual(answers[0].reply, wording.posting(parseAddress(staff)))
        self.assertIn("550 5.7.1 no posting to <a@outside.jp>", answers[0].because.text)
        for sender, code in (("A@outside.jp", 550), ("b@outside.jp", 250), (None, 252)):
            known = self.ask(staff, sender)
            assert isinstance(known, Decision)
            self.assertEqual(known.reply.code, code, sender)
        self.assertEqual(len(self.oracle.asked), 3)
        self.clock.advance(301)
        for sender in ("a@outside.jp", "b@outside.jp"):
            self.assertIsInstance(self.ask(staff, sender), Deferred)
        self.assertIsInstance(self.ask(staff, None), Decision)
        self.assertEqual(len(self.oracle.asked), 5)

    def test_forTheSenderUnanswered(self) -> None:
        """Where the second question has no answer the message is taken, as always."""
        self.oracle.answer = Reply(252, ("it depends",))
        self.ask("staff@test.jp", None)
        self.oracle.answer = SILENT
        decision = self.ask("staff@test.jp")
        assert isinstance(decision, Deferred)
        self.assertEqual(self.successResultOf(decision).reply.code, 250)

    def test_asksOnce(self) -> None:
        """Who is asked about while the probe is under way shares its answer."""
        first, second = self.ask("x@test.jp"), self.ask("X@test.jp")
        self.assertEqual(len(self.oracle.asked), 1)
        self.oracle.asked[0][1].callback(UNKNOWN)
        assert isinstance(first, Deferred) and isinstance(second, Deferred)
        self.assertEqual(self.successResultOf(first), self.successResultOf(second))

    def test_fewAtOnce(self) -> None:
        """A flood of unknown recipients does not become a flood of probes, at one next hop or at many."""
        for number in range(EACH + 5):
            self.ask(f"x{number}@test.jp")
        self.assertEqual(len(self.oracle.asked), EACH)
        self.oracle.asked[0][1].callback(UNKNOWN)
        self.assertEqual(len(self.oracle.asked), EACH + 1)
        for hop in range(AT_ONCE):
            self.way.way = Onward(f"192.0.2.{hop}:25", (Hop(f"192.0.2.{hop}"),), forwards=True)
            for number in range(2):
                self.ask(f"x{number}@d{hop}.jp")
        self.assertEqual(len(self.oracle.asked), AT_ONCE + 1)
        for asked in range(1, 2 * AT_ONCE + EACH + 5):
            self.oracle.asked[asked][1].callback(UNKNOWN)
        self.assertEqual((self.verifier._lines, self.verifier._asked, self.verifier._asking), ({}, {}, 0))

    def test_turns(self) -> None:
        """With all places taken, no next hop keeps another from its turn, however much it is asked."""
        for hop in range(AT_ONCE // EACH + 1):
            self.way.way = Onward(f"192.0.2.{hop}:25", (Hop(f"192.0.2.{hop}"),), forwards=True)
            for number in range(3 * EACH):
                self.ask(f"x{number}@d{hop}.jp")
        last = f"@d{AT_ONCE // EACH}.jp"
        self.assertFalse([address for address, _ in self.oracle.asked if address.endswith(last)])
        for hop in range(AT_ONCE // EACH + 1):
            self.oracle.asked[hop * EACH][1].callback(UNKNOWN)
        self.assertTrue(self.oracle.asked[-1][0].endswith(last))

    def test_silentHoldsUpNobody(self) -> None:
        """A next hop that does not answer has only its own places; recipients of others are asked about at once."""
        for number in range(60):
            self.ask(f"x{number}@silent.jp")
        self.way.way = OTHER
        self.assertFalse(self.decided("x@test.jp", UNKNOWN).accepts)

    def test_silentIsRemembered(self) -> None:
        """Where nobody answers, who waits is told so at once, and who comes within half a minute need not wait."""
        answers = [self.ask(f"x{number}@test.jp") for number in range(2000)]
        self.oracle.asked[0][1].callback(SILENT)
        told = [answer for answer in answers if isinstance(answer, Deferred) and answer.called]
        self.assertEqual(len(told), len(answers) - EACH + 1)
        self.assertTrue(all(self.successResultOf(answer).accepts for answer in told))
        decision = self.ask("y@test.jp")
        assert isinstance(decision, Decision)
        self.assertTrue(decision.accepts)
        self.assertEqual(str(decision.because), 'verification "127.0.0.1:2525 could not be asked a moment ago"')
        self.way.way = OTHER
        self.assertIsInstance(self.ask("z@other.jp"), Deferred)
        self.way.way = BACKEND
        self.clock.advance(SILENT_SECONDS)
        self.assertIsInstance(self.ask("y@test.jp"), Deferred)

    def test_silentNoMore(self) -> None:
        """Whoever answers, or is another since the tables changed, is asked again before half a minute has passed."""
        self.ask("x@test.jp")
        self.ask("y@test.jp")
        self.oracle.asked[0][1].callback(SILENT)
        self.oracle.asked[1][1].callback(UNKNOWN)
        self.decided("z@test.jp", SILENT)
        self.assertIsInstance(self.ask("a@test.jp"), Decision)
        self.verifier.forget()
        self.assertIsInstance(self.ask("a@test.jp"), Deferred)

    def test_manyAnswersAtOnce(self) -> None:
        """Thousands that wait are asked one after the other, also where each answer is at hand."""
        answers = [self.ask(f"x{number}@test.jp") for number in range(3000)]
        self.oracle.answer = UNKNOWN
        for _, pending in list(self.oracle.asked):
            pending.callback(UNKNOWN)
        self.assertTrue(all(isinstance(answer, Deferred) and answer.called for answer in answers))

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
        decision = verifier(parseAddress("x@test.jp"), None)
        assert isinstance(decision, Decision)
        self.assertTrue(decision.accepts)
