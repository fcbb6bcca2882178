"""The grammar of commands. Most of it is in tests/data/dialogs; here is what a dialogue cannot show."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from epost.mail.reply import Refused
from epost.smtp import command
from epost.smtp.event import Mail


def code(argument: str, extended: bool = True) -> str:
    """Code and enhanced code of the refusal of MAIL."""
    try:
        command.mail(argument, extended)
    except Refused as refused:
        return f"{refused.reply.code} {refused.reply.enhanced}"
    return "taken"


class MailTests(SynchronousTestCase):
    """What stands behind MAIL and RCPT."""

    def test_blank(self) -> None:
        """Nothing behind the colon is neither an address nor the null path."""
        for extended in (False, True):
            self.assertEqual(command.mail("FROM:", extended), Mail(None, blank=True))
            self.assertEqual(command.mail("FROM:<>", extended), Mail(None, blank=False))

    def test_seed(self) -> None:
        """The seed's client writes a blank behind the colon."""
        self.assertEqual(str(command.mail("From: <baito@test.jp>", False).path), "baito@test.jp")

    def test_parameters(self) -> None:
        """Keywords and values do not depend on case; the event carries them."""
        found = command.mail("FROM:<a@b.c> size=12 Body=8bitmime SMTPUTF8", True)
        self.assertEqual((found.size, found.body, found.utf8), (12, "8BITMIME", True))
        bare = command.mail("FROM:<a@b.c>", True)
        self.assertEqual((bare.size, bare.body, bare.utf8), (None, "", False))

    def test_sourceRoute(self) -> None:
        """A source route is dropped, the text of the address is what was behind it."""
        path = command.rcpt('TO:<@x.example,@y.example:"a b"@Test.JP>', True, False).path
        self.assertEqual((path.text, path.key), ('"a b"@Test.JP', ("a b", "test.jp")))

    def test_postmaster(self) -> None:
        """Postmaster needs no domain, in any case, as a recipient alone."""
        self.assertEqual(command.rcpt("TO:<PostMaster>", True, False).path.key, ("postmaster", ""))
        self.assertEqual(code("FROM:<postmaster>"), "501 5.1.7")

    def test_refusals(self) -> None:
        """Each fault has its code."""
        for argument, expected in [
            ("", "501 5.5.4"),
            ("FROM <a@b.c>", "501 5.5.4"),
            ("FROM:a@b.c", "501 5.5.4"),
            ("FROM:<a@b.c>SIZE=1", "501 5.5.4"),
            ("FROM:<a@b.c> SIZE=123456789012345678901", "501 5.5.4"),
            ("FROM:<a@b.c> SMTPUTF8 smtputf8", "501 5.5.4"),
            ("FROM:<a@b.c> MT-PRIORITY=3", "555 5.5.4"),
            ("FROM:<a b@c.d>", "501 5.1.7"),
            ("FROM:<a@b.c\udc95>", "501 5.1.7"),
            ("FROM:<\u90e8@b.c>", "550 5.6.7"),
            ("FROM:<\u90e8@b.c> SMTPUTF8", "taken"),
        ]:
            self.assertEqual(code(argument), expected, argument)

    def test_tab(self) -> None:
        """A TAB is a blank between words and nothing inside quotes, where it could be read in two ways."""
        self.assertEqual(command.split("mail\tFROM:<a@b.c>\tSIZE=1"), ("MAIL", "FROM:<a@b.c>\tSIZE=1"))
        self.assertEqual(command.split("NOOP \t"), ("NOOP", ""))
        self.assertEqual(command.mail("FROM:\t<a@b.c>\tSIZE=1\tBODY=7BIT", True).size, 1)
        self.assertEqual(code('FROM:<"a\tb"@b.c>'), "501 5.1.7")

    def test_literalHasNoZone(self) -> None:
        """Behind the zone of an IPv6 literal any text could stand, a parameter for the next hop among it."""
        self.assertEqual(code("FROM:<a@[IPv6:::1]>"), "taken")
        for zone in ("eth0", '"> NOTIFY=NEVER ORCPT=rfc822;evil"', "\x85"):
            self.assertEqual(code(f"FROM:<a@[IPv6:::1%{zone}]> SMTPUTF8"), "501 5.1.7", zone)

    def test_helo(self) -> None:
        """After HELO brackets may be missing, and no parameter is known."""
        self.assertEqual(code("FROM: a@b.c", extended=False), "taken")
        self.assertEqual(code("FROM: a@b.c SIZE=1", extended=False), "555 5.5.4")

    @given(st.text(), st.booleans())
    def test_neverRaises(self, text: str, extended: bool) -> None:
        """Any argument is read or refused, never anything else."""
        for argument in (text, "FROM:" + text, f"FROM:<{text}>", f"FROM:<a@b.c> {text}"):
            code(argument, extended)
        for argument in (text, "TO:" + text, f"TO:<{text}>"):
            try:
                command.rcpt(argument, extended, True)
            except Refused as refused:
                self.assertTrue(refused.reply.permanent)

    @given(st.binary())
    def test_splitNeverRaises(self, line: bytes) -> None:
        """Any line has a verb or is refused; no control octet gets through but TAB."""
        try:
            verb, argument = command.split(line.decode("utf-8", "surrogateescape"))
        except Refused as refused:
            self.assertEqual(refused.reply.code, 500)
        else:
            self.assertFalse(any((ord(c) < 32 and c != "\t") or ord(c) == 127 for c in verb + argument))
