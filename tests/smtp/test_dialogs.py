"""The dialogue files, played at the server core in every chunking."""

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from epost.smtp.event import Closed, Content, Discard
from tests.smtp.dialogs import Dialog, Scripted, everyFile, load, octets, play

DIALOGS = {path.stem: load(path) for path in everyFile()}


def named(prefix: str) -> Iterator[Dialog]:
    """The dialogues whose name begins so."""
    return (dialog for name, dialog in DIALOGS.items() if name.startswith(prefix))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Data, cut at these places."""
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


class DialogTests(SynchronousTestCase):
    """Each file holds, however its octets arrive."""

    def compare(self, dialog: Dialog, shell: Scripted) -> None:
        """The server wrote what the file has, and nothing else."""
        self.assertEqual(shell.out.decode().splitlines(), dialog.server.decode().splitlines())

    def test_inTurn(self) -> None:
        """A client that waits for each answer gets exactly the lines of the file, each at its turn."""
        for name, dialog in DIALOGS.items():
            shell = Scripted(dialog)
            heard = 0
            for turn in dialog.turns:
                shell.feed(turn.client)
                self.assertEqual(tuple(shell.out[heard:].decode().splitlines()), turn.server, name)
                heard = len(shell.out)
            shell.lost()
            self.assertEqual(len(shell.out), heard, name)
            self.assertEqual(shell.events[-1], Closed(), name)

    def test_whole(self) -> None:
        """A client that sends everything at once gets the same answers and the same events."""
        for dialog in DIALOGS.values():
            shell = play(dialog, [dialog.client])
            self.compare(dialog, shell)

    def test_octetByOctet(self) -> None:
        """So does one that sends every octet by itself; what the shell is told and receivelog has are equal too."""
        for name, dialog in DIALOGS.items():
            whole = play(dialog, [dialog.client])
            single = play(dialog, (bytes([octet]) for octet in dialog.client))
            self.compare(dialog, single)
            self.assertEqual(single.events, whole.events, name)
            self.assertEqual(single.log, whole.log, name)

    def test_everyCut(self) -> None:
        """So does one whose octets arrive in two pieces, for every place of the cut."""
        for name, dialog in DIALOGS.items():
            data = dialog.client
            if len(data) > 1500:
                continue
            whole = play(dialog, [data])
            for cut in range(len(data)):
                shell = play(dialog, [data[:cut], data[cut:]])
                self.assertEqual(
                    (shell.out, shell.events, shell.log), (whole.out, whole.events, whole.log), (name, cut)
                )

    @settings(max_examples=200)
    @given(st.sampled_from(sorted(DIALOGS)), st.data())
    def test_anyCuts(self, name: str, data: st.DataObject) -> None:
        """So does one whose octets arrive in any pieces."""
        dialog = DIALOGS[name]
        cuts = data.draw(st.lists(st.integers(0, len(dialog.client)), max_size=12))
        whole = play(dialog, [dialog.client])
        shell = play(dialog, pieces(dialog.client, cuts))
        self.assertEqual((shell.out, shell.events, shell.log), (whole.out, whole.events, whole.log))

    def test_receivelog(self) -> None:
        """receivelog has the greeting, each command with its answer behind it, and no content."""
        for name, dialog in DIALOGS.items():
            if name not in ("limits", "lines", "auth-limits"):  # lines that are cut, and half a command
                self.assertEqual(play(dialog, [dialog.client]).log, dialog.transcript, name)

    def test_nothingSmuggled(self) -> None:
        """Nothing that was content is read as a command: no look-alike of the end of data opens a second message."""
        for name in ("smuggling", "repair"):
            shell = play(DIALOGS[name], [DIALOGS[name].client])
            senders = {str(event.path) for event in shell.events if hasattr(event, "body")}
            self.assertEqual(senders, {"a@b.c"}, name)
            self.assertFalse([line for line in shell.log if "smuggled" in line], name)

    def test_repairedLookalikes(self) -> None:
        """No repaired content holds a line with a lone dot or a bare CR or LF."""
        shell = play(DIALOGS["repair"], [DIALOGS["repair"].client])
        parts = [event.part for event in shell.events if isinstance(event, Content)]
        self.assertEqual(len(parts), 8)
        for part in parts:
            self.assertNotIn(b"\r\n.\r\n", part)
            self.assertNotIn(b"\n", part.replace(b"\r\n", b""))
            self.assertIn(b"MAIL FROM:<smuggled@b.c>\r\n", part)

    def test_contents(self) -> None:
        """An empty content is none; leading dots lose one; a content without end is void."""
        shell = play(DIALOGS["content"], [DIALOGS["content"].client])
        parts = [event.part for event in shell.events if isinstance(event, Content)]
        self.assertEqual(parts, [b".\r\n..\r\n.hidden\r\nRSET\r\nDATA\r\n" + b"x" * 2000 + b"\r\n\r\n not the end\r\n"])
        self.assertEqual(shell.events[-2:], [Discard(), Closed()])

    def test_notation(self) -> None:
        """The escapes of the files stand for what they say they do."""
        self.assertEqual(octets(r"a\r\n\t\\\x00\xfF\{x*3}\&"), b"a\r\n\t\\\x00\xffxxx")
        self.assertEqual(octets(r"plain"), b"plain\r\n")

    def test_seedFiles(self) -> None:
        """The seed's dialogues are among the files."""
        self.assertEqual(len(list(named("seed-"))), 6)
