"""What is sent is what arrives, octet for octet: in a mailbox with LF for CRLF, and outside behind both daemons."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.system.conversation import submit
from tests.system.pair import Pair

HEADER = b"Subject: x\r\nFrom: a@b\r\nDate: Tue, 24 Nov 2026 13:26:00 +0000\r\nMessage-Id: <1@x>\r\n\r\n"
DOTS = b"\r\n.\r\n..\r\n...x\r\n.y\r\n\r\n.\r\n"
SHIFTS = (*range(8), *range(65500, 65540), *range(131000, 131075, 5))  # around what is read and kept at a time

LETTERS = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "no header": b"just text\r\nmore of it\r\n",
    "no body": HEADER[:-2],
    "8-bit": HEADER + bytes(range(128, 256)) * 20 + b"\r\n",
    "ISO-2022-JP": HEADER + "日本語のメール\r\n".encode("iso-2022-jp"),
    "a long line": HEADER + b"z" * 200_000 + b"\r\n",
    "a long header line": b"X-Long: " + b"h" * 100_000 + b"\r\n" + HEADER + b"text\r\n",
    "25 MB": HEADER + (b"." + b"q" * 75 + b"\r\n") * 320_000,
    **{f"dots at {shift}": HEADER + b"y" * shift + DOTS for shift in SHIFTS},
}


class OctetTests(SynchronousTestCase):
    """Nothing is changed, lost or added but the trace, and the fields that spec 8 adds to what is ours."""

    def test_everyLetter(self) -> None:
        """Each into a mailbox, from outside; and to the outside, from an account."""
        with Pair(Path(self.mktemp())) as pair:
            for name, content in LETTERS.items():
                before = set(pair.backend.mailbox("kacho"))
                reply = submit(pair.backend.port, "sato@test-sample00.jp", ["kacho@test.jp"], content)
                self.assertEqual(reply[:3], "250", name)
                (path,) = set(pair.backend.mailbox("kacho")) - before
                self.arrived(name, path.read_bytes(), content.replace(b"\r\n", b"\n"), b"\n")
                reply = submit(pair.backend.port, "bucho@test.jp", ["user2@test-sample00.jp"], content)
                self.assertEqual(reply[:3], "250", name)
                pair.sink.wait(1)
                self.arrived(name, pair.sink.messages.pop().content, content, b"\r\n")

    def arrived(self, name: str, octets: bytes, content: bytes, end: bytes) -> None:
        """Behind lines of a header stands the content, and where that has no header an empty line between."""
        if name in ("nothing", "an empty line"):  # nothing but what we wrote, or added
            front, behind = octets.removesuffix(content), b""
        else:
            front, behind = octets[: len(octets) - len(content)], octets[len(octets) - len(content) :]
            self.assertTrue(behind == content, name)  # equal, without printing 25 MB
        if name == "no header":
            self.assertTrue(front.endswith(end * 2), (name, front))
            front = front[: -len(end)]
        lines = front.removesuffix(end).split(end)
        self.assertTrue(all(line[:1] in b" \t" or line.partition(b":")[1] for line in lines), (name, front))
