"""Tests of L{epost.login.sasl}: the mechanisms, driven without I/O, by the examples of their RFCs."""

import ast
import base64
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from epost.login import schemes
from epost.login.sasl import (
    CramProof,
    Denied,
    Malformed,
    Password,
    ScramProof,
    Talk,
    Unbound,
    cram,
    login,
    plain,
    scram,
)
from epost.login.schemes import scramKeys
from tests.test_layers import imports

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
NONCE = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="


def salt(name: str) -> tuple[bytes, int]:
    """Of anybody."""
    return SALT, 4096


def scramTalk(first: bytes | None, binding: dict[str, bytes] | None = None, plus: bool = False) -> Talk:
    """A dialogue with a given nonce. @param binding: the octets of each."""
    return scram(first, salt, None if binding is None else binding.get, plus, lambda: b"nonce")


class PlainTests(SynchronousTestCase):
    """PLAIN (RFC 4616)."""

    def proof(self, first: bytes) -> Password:
        """What is offered."""
        proof = next(plain(first))
        assert isinstance(proof, Password)
        return proof

    def test_examples(self) -> None:
        """The examples of RFC 4616 4, as far as nobody acts for another."""
        self.assertEqual(self.proof(b"\0tim\0tanstaaftanstaaf"), Password("tim", b"tanstaaftanstaaf"))
        self.assertEqual(self.assertRaises(Denied, next, plain(b"Ursel\0Kurt\0xipj3plmq")).name, "Kurt")
        self.assertEqual(self.proof(b"tim\0tim\0x"), Password("tim", b"x"))

    def test_withoutInitialResponse(self) -> None:
        """An empty challenge invites it."""
        talk = plain(None)
        self.assertEqual(next(talk), b"")
        self.assertEqual(talk.send(b"\0tim\0x"), Password("tim", b"x"))
        self.assertRaises(StopIteration, next, talk)

    def test_malformed(self) -> None:
        """More NULs, fewer, no name, and octets that are no UTF-8."""
        for first in (b"", b"tim", b"tim\0x", b"\0\0x", b"\0a\0b\0c", b"\0a\0b\0", b"\0\xff\0x"):
            self.assertRaises(Malformed, next, plain(first))

    def test_passwords(self) -> None:
        """A password stays as it was sent, one that is none, and one in Shift_JIS, too."""
        self.assertEqual(self.proof("\0a\0ｐａｓｓ".encode()).octets, "ｐａｓｓ".encode())
        self.assertEqual(self.proof(b"\0a\0").octets, b"")
        self.assertEqual(self.proof(b"\0a\0\x83\x70\xff").octets, b"\x83\x70\xff")
        self.assertRaises(Denied, next, plain(b"\0a\0" + b"x" * 1025))

    def test_noPasswordInARepr(self) -> None:
        """A proof can be printed by mistake and tells nothing."""
        self.assertNotIn("xipj3plmq", repr(self.proof(b"\0a\0xipj3plmq")))


class LoginTests(SynchronousTestCase):
    """LOGIN."""

    def test_dialogue(self) -> None:
        """Two prompts, in the words that Outlook wants; the first is left out where the name came with the command."""
        talk = login(None)
        self.assertEqual(next(talk), b"Username:")
        self.assertEqual(talk.send(b"tim"), b"Password:")
        self.assertEqual(talk.send(b"x"), Password("tim", b"x"))
        talk = login(b"tim")
        self.assertEqual(next(talk), b"Password:")
        self.assertEqual(talk.send(b"x"), Password("tim", b"x"))

    def test_malformed(self) -> None:
        """No name, or one that is no UTF-8."""
        for name in (b"", b"\xff"):
            talk = login(None)
            next(talk)
            talk.send(name)
            self.assertRaises(Malformed, talk.send, b"x")


class CramTests(SynchronousTestCase):
    """CRAM-MD5."""

    def test_example(self) -> None:
        """The example of RFC 2195 2 holds with its password and with no other."""
        challenge = b"<1896.697170952@postoffice.reston.mci.net>"
        proof = CramProof("tim", challenge, b"b913a602c7eda7a495b4e6e7334d3890")
        self.assertTrue(proof.holds("tanstaaftanstaaf"))
        self.assertFalse(proof.holds("tanstaaftanstaag"))

    def test_dialogue(self) -> None:
        """Each challenge is another, in the form of a Message-Id; a name may have blanks."""
        talk = cram(None, "mx.test.jp")
        challenge = next(talk)
        assert isinstance(challenge, bytes)
        self.assertRegex(challenge, rb"\A<[0-9a-f]{32}\.\d+@mx\.test\.jp>\Z")
        self.assertNotEqual(next(cram(None, "mx.test.jp")), challenge)
        self.assertEqual(talk.send(b"a b " + b"0" * 32), CramProof("a b", challenge, b"0" * 32))

    def test_malformed(self) -> None:
        """The server is first; a response is a name and a digest."""
        self.assertRaises(Malformed, next, cram(b"", "h"))
        for response in (b"", b"tim", b" " + b"0" * 32, b"tim " + b"0" * 31, b"tim " + b"G" * 32, b"\xff " + b"0" * 32):
            talk = cram(None, "h")
            next(talk)
            self.assertRaises(Malformed, talk.send, response)


class ScramTests(SynchronousTestCase):
    """SCRAM-SHA-256 (RFC 5802, RFC 7677)."""

    def setUp(self) -> None:
        """The server's half of the nonce in RFC 7677 3 is no base64: what is made is put in its place."""
        self.patch(base64, "b64encode", base64.b64encode)

    def example(self) -> tuple[Talk, ScramProof]:
        """The dialogue of RFC 7677 3 up to the proof."""
        encode = base64.b64encode
        base64.b64encode = lambda octets: NONCE if octets == b"nonce" else encode(octets)
        talk = scramTalk(FIRST)
        self.assertEqual(next(talk), b"r=rOprNGfwEbeRWgbNEkqO" + NONCE + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
        proof = talk.send(FINAL)
        assert isinstance(proof, ScramProof)
        return talk, proof

    def test_exampleOfRfc7677(self) -> None:
        """The proof holds with the password, and the server proves that it knows the keys, to the octet."""
        talk, proof = self.example()
        self.assertEqual(proof.name, "user")
        self.assertTrue(proof.holds(scramKeys(b"pencil", SALT, 4096)))
        self.assertEqual(next(talk), b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        self.assertRaises(StopIteration, talk.send, b"")

    def test_wrongPassword(self) -> None:
        """The same proof holds with no other password."""
        _, proof = self.example()
        self.assertFalse(proof.holds(scramKeys(b"pencil2", SALT, 4096)))

    def test_noRoomBehind(self) -> None:
        """What the client says to the server's signature is nothing."""
        talk, proof = self.example()
        proof.holds(scramKeys(b"pencil", SALT, 4096))
        next(talk)
        self.assertRaises(Malformed, talk.send, b"x")

    def test_withoutInitialResponse(self) -> None:
        """An empty challenge invites it."""
        talk = scramTalk(None)
        self.assertEqual(next(talk), b"")
        self.assertTrue(bytes(talk.send(FIRST)).startswith(b"r=rOpr"))

    def test_names(self) -> None:
        """Commas and = of a name are written in their own way, and nothing else is (RFC 5802 5.1)."""
        names: list[str] = []
        next(scram(b"n,a=a=2Cb=3D2C,n=a=2Cb=3D2C,r=x", lambda name: (names.append(name), salt(name))[1], None, False))
        self.assertEqual(names, ["a,b=2C"])
        self.assertRaises(Malformed, next, scramTalk(b"n,,n=a=2cb,r=x"))
        self.assertRaises(Denied, next, scramTalk(b"n,a=other,n=user,r=x"))

    def test_malformed(self) -> None:
        """What is no client-first message, a mandatory extension that nobody knows among it (5.1, m=)."""
        for first in (b"", b"n", b"n,,", b"x,,n=u,r=x", b"n,,n=,r=x", b"n,,n=u,r=", b"n,,m=1,n=u,r=x", b"n,,r=x,n=u"):
            self.assertRaises(Malformed, next, scramTalk(first))
        for first in (b"n,b=x,n=u,r=x", b"n,,n=u,r=a b", b"n,,n=\xff,r=x", b"p=,,n=u,r=x", b"n,,n=u,r=x\0"):
            self.assertRaises(Malformed, next, scramTalk(first))

    def test_malformedFinal(self) -> None:
        """What is no client-final message: another nonce, no base64, a proof of another length."""
        nonce = b"x" + base64.b64encode(b"nonce")
        right = base64.b64encode(b"p" * 32)
        for final in (
            b"",
            b"c=biws,r=" + nonce,
            b"c=biws,r=x,p=" + right,
            b"c=biws,r=" + nonce + b"y,p=" + right,
            b"c=biw,r=" + nonce + b",p=" + right,
            b"c=biws,r=" + nonce + b",p=cHBw",
            b"c=biws,r=" + nonce + b",p=" + right + b"\0",
        ):
            talk = scramTalk(b"n,,n=u,r=x")
            next(talk)
            self.assertEqual(self.assertRaises(Malformed, talk.send, final).name, "u")

    def plusFinal(self, header: bytes, bound: bytes, given: dict[str, bytes]) -> object:
        """What comes of a final message that binds to certain octets."""
        talk = scramTalk(header + b"n=u,r=x", given, plus=header.startswith(b"p"))
        next(talk)
        nonce = b"x" + base64.b64encode(b"nonce")
        bind = base64.b64encode(header + bound)
        return talk.send(b"c=" + bind + b",r=" + nonce + b",p=" + base64.b64encode(b"p" * 32))

    def test_channelBinding(self) -> None:
        """With -PLUS the client says to which TLS connection it speaks; somebody in between has another."""
        given = {"tls-exporter": b"e" * 32, "tls-server-end-point": b"h" * 32}
        self.assertIsInstance(self.plusFinal(b"p=tls-exporter,,", b"e" * 32, given), ScramProof)
        self.assertIsInstance(self.plusFinal(b"p=tls-server-end-point,,", b"h" * 32, given), ScramProof)
        self.assertRaises(Denied, self.plusFinal, b"p=tls-exporter,,", b"f" * 32, given)
        self.assertRaises(Denied, self.plusFinal, b"p=tls-exporter,,", b"h" * 32, given)
        self.assertRaises(Denied, self.plusFinal, b"p=tls-exporter,,", b"", given)

    def test_unknownBinding(self) -> None:
        """A binding that nobody knows, or that the connection does not have, cannot be chosen."""
        given = {"tls-server-end-point": b"h" * 32, "tls-unique": b"u"}
        for header in (b"p=tls-unique,,", b"p=tls-exporter,,", b"p=x,,"):
            self.assertRaises(Unbound, next, scramTalk(header + b"n=u,r=x", given, plus=True))

    def test_mechanismAndBindingFit(self) -> None:
        """-PLUS without a binding is none, and a binding without -PLUS neither (RFC 5802 6)."""
        given = {"tls-exporter": b"e" * 32}
        self.assertRaises(Malformed, next, scramTalk(b"n,,n=u,r=x", given, plus=True))
        self.assertRaises(Malformed, next, scramTalk(b"p=tls-exporter,,n=u,r=x", given))

    def test_downgrade(self) -> None:
        """A client that could bind and saw no -PLUS, where one was offered, has been lied to (RFC 5802 6)."""
        given = {"tls-exporter": b"e" * 32}
        self.assertRaises(Denied, next, scramTalk(b"y,,n=u,r=x", given))
        next(scramTalk(b"y,,n=u,r=x"))
        next(scramTalk(b"n,,n=u,r=x", given))
        self.assertRaises(Denied, self.plusFinal, b"n,,", b"changed", {})


class PureTests(SynchronousTestCase):
    """Protocol without I/O."""

    def test_noTwisted(self) -> None:
        """Schemes and mechanisms know nothing of Twisted, so that the command and a test need none."""
        for module in ("schemes", "sasl"):
            path = Path(schemes.__file__).with_name(f"{module}.py")
            names = [name for _, name in imports(ast.parse(path.read_text("utf-8")))]
            self.assertEqual([name for name in names if name.startswith(("twisted", "zope", "epost.interfaces"))], [])
