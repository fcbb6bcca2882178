"""The sending side of SMTP, by C{send} alone: what is said, what is believed of the replies, and dots at every cut."""

import re
from collections.abc import Iterable, Iterator

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import parseAddress
from epost.mail.envelope import Envelope
from epost.mail.reply import Refused, Reply
from epost.smtp.client import (
    After,
    Outcome,
    Peer,
    Step,
    Steps,
    encryption,
    hello,
    inquiry,
    opening,
    stuffed,
    transaction,
)
from epost.smtp.replies import KEPT_LINES, LINE_OCTETS, REPLY_LINES, Replies
from tests.smtp.dialogs import FOLDER, grouped, load

A = parseAddress("baito@test.jp")
B = parseAddress("user2@test-sample00.jp")
C = parseAddress("user3@test-sample00.jp")
D = parseAddress("käse@test.jp")

PLAIN = Peer()
EXTENDED = Peer(True)
PIPELINED = Peer(True, {"PIPELINING": ""})


def said(text: str) -> Reply:
    """A reply from its text."""
    lines = text.split("\n")
    return Reply(int(lines[0][:3]), tuple(line[4:] for line in lines))


def play(steps: Steps, *replies: str) -> tuple[list[str], list[bytes], object]:
    """
    Hold a dialogue.

    @return: the commands in order, what each step wrote, and what came of it.
    """
    commands: list[str] = []
    written: list[bytes] = []

    def note(step: Step) -> None:
        commands.append(step.command)
        written.append(step.octets if isinstance(step.octets, bytes) else b"".join(step.octets))

    heard = iter(replies)
    try:
        note(next(steps))
        for reply in heard:
            note(steps.send(said(reply)))
    except StopIteration as end:
        assert not list(heard), "replies left over"
        return commands, written, end.value
    raise AssertionError(f"waits for a reply to {commands[-1]!r}")


def send(peer: Peer, *replies: str, to: tuple = (B,), sender=A, content: Iterable[bytes] = (b"x\r\n",), **more):
    """Play a transaction."""
    envelope = Envelope(sender, to, **{k: more.pop(k) for k in ("utf8", "body") if k in more})
    return play(transaction(peer, envelope, to, content, more.pop("size", 3), **more), *replies)


def codes(outcome: object) -> list[int]:
    """The codes of an outcome, recipient by recipient."""
    assert isinstance(outcome, Outcome)
    return [reply.code for reply in outcome.replies]


class OpeningTests(SynchronousTestCase):
    """L{opening} goes from the greeting to a connection that is ready for MAIL."""

    def test_extensions(self) -> None:
        """What EHLO announces is known by keyword, whatever its case."""
        steps = opening("test.jp")
        told = "250-mx hello\n250-size 1000\n250-PIPELINING\n250 8BITMIME"
        commands, written, peer = play(steps, "220 mx ESMTP", told)
        self.assertEqual((commands, written), (["", "EHLO test.jp"], [b"", b"EHLO test.jp\r\n"]))
        self.assertEqual(peer, Peer(True, {"SIZE": "1000", "PIPELINING": "", "8BITMIME": ""}))
        self.assertEqual(peer.limit, 1000)

    def test_noLimit(self) -> None:
        """SIZE without a number, with 0 or with nonsense tells no limit (RFC 1870 3)."""
        for told in ("", "0", "many", "²"):
            self.assertIsNone(Peer(True, {"SIZE": told}).limit, told)

    def test_fallsBack(self) -> None:
        """A server that does not know EHLO is greeted with HELO."""
        commands, _, peer = play(opening("test.jp"), "220 mx", "502 what?", "250 mx")
        self.assertEqual((commands, peer), (["", "EHLO test.jp", "HELO test.jp"], Peer()))

    def test_neverEhlo(self) -> None:
        """Set to HELO, as the seed's back-end, it never says EHLO."""
        commands, _, peer = play(opening("test.jp", "HELO"), "220 dc.epost.test E-POST", "250 hello")
        self.assertEqual((commands, peer), (["", "HELO test.jp"], Peer()))

    def test_unwelcome(self) -> None:
        """A refusal at any place is what the server said; a reply of another kind is a fault of 4xx."""
        for replies, code in (
            (("421 busy",), 421),
            (("450 later",), 450),
            (("554 go away",), 554),
            (("354 what",), 451),
            (("220 mx", "421 bye"), 421),
            (("220 mx", "451 later"), 451),
            (("220 mx", "500 what", "550 no"), 550),
        ):
            refusal = self.assertRaises(Refused, play, opening("test.jp"), *replies)
            self.assertEqual(refusal.reply.code, code, replies)


class EncryptionTests(SynchronousTestCase):
    """L{encryption} asks for TLS, and L{hello} begins anew inside it."""

    def test_invited(self) -> None:
        """Only 220 invites to a handshake (RFC 3207 4)."""
        self.assertEqual(play(encryption(), "220 go"), (["STARTTLS"], [b"STARTTLS\r\n"], None))

    def test_notInvited(self) -> None:
        """Every other reply is the end of it, and a yes of another kind a fault of 4xx."""
        for reply, code in (
            ("454 not now", 454),
            ("501 what", 501),
            ("421 bye", 421),
            ("250 ok", 451),
            ("221 bye", 451),
            ("354 go", 451),
        ):
            refusal = self.assertRaises(Refused, play, encryption(), reply)
            self.assertEqual(refusal.reply.code, code, reply)

    def test_anew(self) -> None:
        """Inside nothing is greeted; what is told is all that counts."""
        commands, _, peer = play(hello("test.jp"), "250-mx\n250 SIZE 10")
        self.assertEqual((commands, peer), (["EHLO test.jp"], Peer(True, {"SIZE": "10"})))
        refusal = self.assertRaises(Refused, play, hello("test.jp"), "451 later")
        self.assertEqual(refusal.reply.code, 451)


class TransactionTests(SynchronousTestCase):
    """L{transaction} hands over one message."""

    def test_seed(self) -> None:
        """After HELO it writes what the seed's back-end writes, and says no more once MAIL is refused."""
        commands, written, outcome = send(PLAIN, "550 Please, mail from a valid IP or Domain address.")
        self.assertEqual(commands, ["MAIL From: <baito@test.jp>"])
        self.assertEqual(written, [b"MAIL From: <baito@test.jp>\r\n"])
        refusal = Reply(550, ("Please, mail from a valid IP or Domain address.",))
        self.assertEqual(outcome, Outcome((refusal,), After.RESET))

    def test_taken(self) -> None:
        """One message after HELO, from MAIL to the end of data."""
        commands, written, outcome = send(PLAIN, "250 a", "250 b", "354 go", "250 taken")
        said = ["MAIL From: <baito@test.jp>", "RCPT To: <user2@test-sample00.jp>", "DATA", ""]
        self.assertEqual(commands, said)
        self.assertEqual(written[2:], [b"DATA\r\n", b"x\r\n.\r\n"])
        self.assertEqual(outcome, Outcome((Reply(250, ("taken",)),), After.READY))

    def test_parameters(self) -> None:
        """After EHLO there is no blank, and what is announced is used."""
        peer = Peer(True, {"SIZE": "", "8BITMIME": "", "SMTPUTF8": ""})
        for more, mail in (
            ({}, "MAIL FROM:<baito@test.jp> SIZE=3 BODY=8BITMIME"),
            ({"body": "7BIT"}, "MAIL FROM:<baito@test.jp> SIZE=3"),
            ({"utf8": True}, "MAIL FROM:<baito@test.jp> SIZE=3 BODY=8BITMIME SMTPUTF8"),
            ({"sender": None}, "MAIL FROM:<> SIZE=3 BODY=8BITMIME"),
            ({"sender": D}, "MAIL FROM:<käse@test.jp> SIZE=3 BODY=8BITMIME SMTPUTF8"),
        ):
            commands, written, _ = send(peer, "550 no", **more)
            self.assertEqual((commands, written), ([mail], [f"{mail}\r\n".encode()]))
        commands, _, _ = send(EXTENDED, "250 a", "550 no", body="8BITMIME")
        self.assertEqual(commands, ["MAIL FROM:<baito@test.jp>", "RCPT TO:<user2@test-sample00.jp>"])

    def test_eachItsOwn(self) -> None:
        """A recipient refused at RCPT keeps that reply; the others share the last one."""
        for peer in (PLAIN, EXTENDED, PIPELINED):
            for end in ("250 taken", "452 full", "554 no"):
                _, _, outcome = send(peer, "250 a", "550 no", "251 b", "354 go", end, to=(B, C))
                self.assertEqual(codes(outcome), [550, int(end[:3])])
                self.assertIs(outcome.after, After.READY if end[0] == "2" else After.RESET)

    def test_pipelined(self) -> None:
        """With PIPELINING envelope and DATA go in one write, and each reply still belongs to its command."""
        commands, written, outcome = send(PIPELINED, "250 a", "250 b", "354 go", "250 taken")
        envelope = b"MAIL FROM:<baito@test.jp>\r\nRCPT TO:<user2@test-sample00.jp>\r\nDATA\r\n"
        self.assertEqual(written, [envelope, b"", b"", b"x\r\n.\r\n"])
        self.assertEqual(commands, ["MAIL FROM:<baito@test.jp>", "RCPT TO:<user2@test-sample00.jp>", "DATA", ""])
        self.assertEqual(codes(outcome), [250])

    def test_nobodyTaken(self) -> None:
        """Where every RCPT is refused DATA is not said; pipelined and invited all the same, it is ended at once."""
        commands, _, outcome = send(EXTENDED, "250 a", "550 b", "451 c", to=(B, C))
        self.assertEqual((len(commands), codes(outcome), outcome.after), (3, [550, 451], After.RESET))
        _, written, outcome = send(PIPELINED, "250 a", "550 b", "354 go", "250 taken")
        self.assertEqual((written[-1], codes(outcome), outcome.after), (b".\r\n", [550], After.RESET))
        _, written, outcome = send(PIPELINED, "250 a", "550 b", "503 no recipients")
        self.assertEqual((len(written), codes(outcome), outcome.after), (3, [550], After.RESET))

    def test_mailRefusedAndInvited(self) -> None:
        """MAIL refused and DATA invited: all have MAIL's reply; no empty message goes to a RCPT that was taken."""
        _, written, outcome = send(PIPELINED, "550 a", "503 b", "354 go", "554 nothing")
        self.assertEqual((written[-1], codes(outcome), outcome.after), (b".\r\n", [550], After.RESET))
        _, written, outcome = send(PIPELINED, "550 a", "250 b", "354 go")
        self.assertEqual((written[-1], codes(outcome), outcome.after), (b"", [550], After.GONE))

    def test_dataAnswered(self) -> None:
        """Only 354 invites content: a 250 to DATA never reads as delivered, and nothing may follow it."""
        for peer in (PLAIN, PIPELINED):
            for reply in ("250 ok", "221 bye", "334 what"):
                commands, _, outcome = send(peer, "250 a", "250 b", reply)
                self.assertEqual((commands[-1], codes(outcome), outcome.after), ("DATA", [451], After.GONE))
            _, _, outcome = send(peer, "250 a", "250 b", "451 later")
            self.assertEqual((codes(outcome), outcome.after), ([451], After.RESET))

    def test_outOfStep(self) -> None:
        """A 3xx where 2xx is due is a fault of ours to report, 4xx, and the end of the connection."""
        for replies in (("354 a",), ("250 a", "354 b"), ("250 a", "250 b", "354 go", "354 more")):
            _, _, outcome = send(PLAIN, *replies)
            self.assertEqual((codes(outcome), outcome.after), ([451], After.GONE))

    def test_closing(self) -> None:
        """421 ends the session wherever it comes; who was refused before keeps that."""
        for peer in (PLAIN, PIPELINED):
            _, _, outcome = send(peer, "421 bye", to=(B, C))
            self.assertEqual((codes(outcome), outcome.after), ([421, 421], After.GONE))
            for replies in (
                ("550 b", "421 bye"),
                ("550 b", "250 c", "421 bye"),
                ("550 b", "250 c", "354 go", "421 bye"),
            ):
                _, _, outcome = send(peer, "250 a", *replies, to=(B, C))
                self.assertEqual((codes(outcome), outcome.after), ([550, 421], After.GONE))

    def test_reset(self) -> None:
        """Behind a message that was not taken RSET comes first, with a reply of its own."""
        commands, written, _ = send(PIPELINED, "250 reset", "250 a", "250 b", "354 go", "250 taken", reset=True)
        self.assertEqual((commands[:2], written[0]), (["RSET", "MAIL FROM:<baito@test.jp>"], b"RSET\r\n"))
        for reply, code in (("421 bye", 421), ("500 what", 451)):
            _, _, outcome = send(PLAIN, reply, reset=True)
            self.assertEqual((codes(outcome), outcome.after), ([code], After.GONE))

    def test_notBegun(self) -> None:
        """What the other side cannot take is refused by ourselves, and nothing is said."""
        small = Peer(True, {"SIZE": "2", "SMTPUTF8": ""})
        for peer, more, refusal in (
            (small, {}, (552, "5.3.4")),
            (EXTENDED, {"utf8": True}, (553, "5.6.7")),
            (PLAIN, {"utf8": True}, (553, "5.6.7")),
            (EXTENDED, {"sender": D}, (553, "5.6.7")),
            (EXTENDED, {"to": (B, D)}, (553, "5.6.7")),
        ):
            commands, _, outcome = send(peer, **more)
            self.assertEqual(commands, [])
            self.assertEqual({(r.code, r.enhanced) for r in outcome.replies}, {refusal})
            self.assertIs(outcome.after, After.READY)
            self.assertIs(send(peer, reset=True, **more)[2].after, After.RESET)
        self.assertEqual(codes(send(Peer(True, {"SIZE": "3"}), "550 no")[2]), [550])

    def test_unreadable(self) -> None:
        """Content that cannot be read is a fault of ours: the recipients get it, the connection is over."""
        steps = transaction(PLAIN, Envelope(A, (B, C)), (B, C), (), 0)
        next(steps)
        for reply in ("250 a", "550 b", "250 c", "354 go"):
            steps.send(said(reply))
        with self.assertRaises(StopIteration) as end:
            steps.throw(Refused(Reply(451, ("gone",), "4.3.0")))
        self.assertEqual((codes(end.exception.value), end.exception.value.after), ([550, 451], After.GONE))


class DialogTests(SynchronousTestCase):
    """The seed's dialogues, played from the client's side out of the files that the server plays."""

    def test_seed(self) -> None:
        """From the same replies the client says the same, octet for octet, refused or taken, after HELO and EHLO."""
        for name, word, to in (
            ("seed-baito", "HELO", ("user2@test-sample00.jp",)),
            ("seed-baito-again", "HELO", ("user2@test-sample00.jp",)),
            ("seed-bucho-gateway", "HELO", ("user2@test-sample00.jp",)),
            ("seed-outside", "EHLO", ("someone@elsewhere.example", "nobody@test.jp", "bucho@test.jp")),
        ):
            dialog = load(FOLDER / f"{name}.smtp")
            spoken = dialog.client.removesuffix(b"QUIT\r\n")
            path = re.search(rb"(?i)MAIL FROM: ?<(.*?)>(?: SIZE=(\d+))?", spoken)
            assert path is not None
            content = spoken.partition(b"DATA\r\n")[2].removesuffix(b".\r\n")
            recipients = tuple(parseAddress(text) for text in to)
            envelope = Envelope(parseAddress(path[1].decode()), recipients)
            own = re.match(r"\S+ (\S+)", spoken.decode())
            assert own is not None

            def whole(word: str = word, own: str = own[1], envelope: Envelope = envelope) -> Steps:
                peer = yield from opening(own, word)
                # The files were written in turns; pipelined the same octets would come earlier.
                unhurried = Peer(peer.extended, {k: v for k, v in peer.extensions.items() if k != "PIPELINING"})
                return (
                    yield from transaction(unhurried, envelope, envelope.recipients, [content], int(path[2] or 0))  # noqa: B023
                )

            replies = ["\n".join(lines) for lines in grouped(line for turn in dialog.turns for line in turn.server)][
                :-1
            ]
            _, written, outcome = play(whole(), *replies)
            self.assertEqual(b"".join(written), spoken, name)
            self.assertEqual(codes(outcome)[-1], int(replies[-1][:3]), name)


class InquiryTests(SynchronousTestCase):
    """L{inquiry} asks about a recipient."""

    def test_asked(self) -> None:
        """The reply to RCPT is the answer, pipelined or not."""
        for peer in (PLAIN, EXTENDED, PIPELINED):
            for reply in ("250 yes", "550 no", "450 later", "421 bye"):
                _, written, answer = play(inquiry(peer, B), "250 a", reply)
                self.assertEqual(answer.code, int(reply[:3]))
                self.assertNotIn(b"DATA", b"".join(written))
        self.assertEqual(play(inquiry(PLAIN, B), "250 a", "250 b")[0][0], "MAIL From: <>")

    def test_forASender(self) -> None:
        """With a sender the answer is what he would hear, at MAIL or at RCPT."""
        said, _, answer = play(inquiry(PLAIN, B, A), "250 a", "550 no")
        self.assertEqual((said[0], answer.code), (f"MAIL From: <{A}>", 550))
        self.assertEqual(play(inquiry(PLAIN, B, A), "553 not you")[2].code, 553)

    def test_mailRefused(self) -> None:
        """Where the null reverse path is refused nothing was learnt about the recipient."""
        self.assertRaises(Refused, play, inquiry(PLAIN, B), "550 no")


def cut(content: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """The content in parts, cut at these places."""
    start = 0
    for place in sorted(places):
        yield content[start:place]
        start = place
    yield content[start:]


class StuffedTests(SynchronousTestCase):
    """L{stuffed} doubles dots at line begins and ends the data."""

    def test_everyCut(self) -> None:
        """However the parts are cut the same goes out, one octet at a time too; a lone dot never ends the data."""
        content = b".\r\n..\r\n\r\n.a\r\nb.\r\n.\r\n.\r\n"
        wire = b"..\r\n...\r\n\r\n..a\r\nb.\r\n..\r\n..\r\n.\r\n"
        for one in range(len(content) + 1):
            for two in range(one, len(content) + 1):
                self.assertEqual(b"".join(stuffed(cut(content, (one, two)))), wire, (one, two))
        self.assertEqual(b"".join(stuffed(bytes([octet]) for octet in content)), wire)

    def test_ends(self) -> None:
        """Content without a last line end gets one; empty content is nothing but the end of data."""
        self.assertEqual(b"".join(stuffed([b"a"])), b"a\r\n.\r\n")
        self.assertEqual(b"".join(stuffed([b"a\r\n"])), b"a\r\n.\r\n")
        self.assertEqual(b"".join(stuffed([b"a\r", b"\n"])), b"a\r\n.\r\n")
        self.assertEqual(b"".join(stuffed([])), b".\r\n")
        self.assertEqual(b"".join(stuffed([b"", b""])), b".\r\n")

    @given(st.lists(st.text(".ab", max_size=4)), st.lists(st.integers(0, 40), max_size=8))
    def test_unstuffed(self, lines: list[str], places: list[int]) -> None:
        """The receiver's rule (RFC 5321 4.5.2) gives back every line, and finds the end where it is."""
        content = "".join(f"{line}\r\n" for line in lines).encode()
        wire = b"".join(stuffed(cut(content, [min(place, len(content)) for place in places])))
        read = wire.decode().split("\r\n")
        self.assertEqual(read.index("."), len(read) - 2)
        self.assertEqual([line[1:] if line.startswith(".") else line for line in read[:-2]], lines)


class RepliesTests(SynchronousTestCase):
    """L{Replies} reads what a server says."""

    def read(self, *octets: bytes) -> list[Reply]:
        """All replies in these octets."""
        replies = Replies()
        found = []
        for part in octets:
            replies.feed(part)
            while (reply := replies.next()) is not None:
                found.append(reply)
        return found

    def test_everyCut(self) -> None:
        """Replies of one line and of many, with and without text, are the same in every chunking."""
        wire = b"220 a\r\n250-b\r\n250-\r\n250 c d\r\n354\r\n221 \xff\n"
        whole = self.read(wire)
        shown = [(220, ("a",)), (250, ("b", "", "c d")), (354, ("",)), (221, ("\udcff",))]
        self.assertEqual([(reply.code, reply.lines) for reply in whole], shown)
        self.assertEqual(self.read(*[bytes([octet]) for octet in wire]), whole)

    def test_junk(self) -> None:
        """What is no reply is a 4xx of our own, and what came before it counts."""
        for junk in (
            b"hello\r\n",
            b"150 a\r\n",
            b"25 a\r\n",
            b"250a\r\n",
            b"\r\n",
            b"600 a\r\n",
            b"250-a\r\n550 b\r\n",
        ):
            replies = Replies()
            replies.feed(b"250 taken\r\n" + junk)
            self.assertEqual(replies.next(), Reply(250, ("taken",)))
            refusal = self.assertRaises(Refused, replies.next)
            self.assertEqual((refusal.reply.code, refusal.reply.enhanced), (451, "4.5.0"))

    def test_bounded(self) -> None:
        """A line without end and a reply without end are junk."""
        self.assertRaises(Refused, self.read, b"250 " + b"a" * LINE_OCTETS)
        self.assertRaises(Refused, self.read, b"250-a\r\n" * (REPLY_LINES + 1))
        self.assertEqual(len(self.read(b"250-a\r\n" * (REPLY_LINES - 1) + b"250 a\r\n")), 1)

    def test_kept(self) -> None:
        """Of a refusal twenty lines are kept, of any line 512 octets; what EHLO is answered is kept whole."""
        for code, kept in ((451, KEPT_LINES), (550, KEPT_LINES), (354, KEPT_LINES), (250, 150)):
            wire = b"".join(b"%d-%d\r\n" % (code, number) for number in range(149)) + b"%d 149\r\n250 b\r\n" % code
            for parts in ([wire], [bytes([octet]) for octet in wire]):
                reply, after = self.read(*parts)
                self.assertEqual(reply.lines, tuple(map(str, range(kept))))
                self.assertEqual(after, Reply(250, ("b",)))
        for text, end in ((b"\xff" * 4000, 512), ("日".encode() * 1000, 510), (b"x" * 512, 512), (b"x" * 513, 512)):
            (reply,) = self.read(b"451 " + text + b"\r\n")
            self.assertEqual(reply.lines[0].encode("utf-8", "surrogateescape"), text[:end])
