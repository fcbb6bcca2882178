"""
The two daemons as an operator has them: the story from end to end, SIGKILL, tables that change, a folder that is taken.

Real processes, real sockets, a real clock; each test waits for what it expects and no longer.
"""

import io
import re
import resource
import socket
import subprocess
import time
from contextlib import redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.system import demo
from tests.system.conversation import Conversation, submit
from tests.system.pair import Daemon, Pair, Sections, toml, waitUntil

BUCHO, KACHO, USER2 = "bucho@test.jp", "kacho@test.jp", "user2@test-sample00.jp"
MARK = re.compile(rb"X-Mark: (\w+)")
HASTY: Sections = {"retry": {"deferred": ["1s"], "refused": ["1s"]}}


def marked(mark: str) -> bytes:
    """A message that can be found again."""
    return f"X-Mark: {mark}\r\n\r\ntext\r\n".encode()


class StoryTests(SynchronousTestCase):
    """The demo is a test."""

    def test_story(self) -> None:
        """Every step of the story holds, and the demo says so by its exit status."""
        said = io.StringIO()
        with redirect_stdout(said):
            status = demo.main()
        self.assertEqual((status, said.getvalue().count("FAILED")), (0, 0), said.getvalue())

    def test_storyCanFail(self) -> None:
        """Where the gateway refuses baito as it does any stranger, not by his rule, the demo notices."""
        with redirect_stdout(io.StringIO()):
            stage = demo.Stage()
            pair = Pair(Path(self.mktemp()), {"retry": {"refused": ["1s"]}})
            (pair.etc / "effect.dat").write_text("127.0.0.1 norelay\n")
            with pair, self.assertRaisesRegex(AssertionError, "the gateway's reason"):
                demo.Story(pair, stage).refused("baito", brief=True)
        self.assertEqual(stage.failed, ["the senderlog tells it in E-Post's own lines, in E-Post's order"])


class GatewayTests(SynchronousTestCase):
    """What comes through the gateway on the same machine is a stranger's, whatever its address is in."""

    def through(self, gateways: list[str]) -> list[int]:
        """How much of four messages of a stranger arrives: as a member, and at the limits. @return: by mark."""
        relay = {"networks": ["127.0.0.1"], "gateways": gateways}
        folder = Path(self.mktemp())
        pair = Pair(folder, {"relay": relay, "domains": {"lists": "lists.toml"}, **HASTY}, HASTY)
        (pair.etc / "lists.toml").write_text(f'["staff@test.jp"]\nmembers = "staff.txt"\nowner = "{BUCHO}"\n')
        (pair.etc / "staff.txt").write_text(f"{BUCHO}\n{KACHO}\n")
        with pair:
            for to, mark, lines in (("staff@test.jp", b"forged", 0), (KACHO, b"edge", 100), (KACHO, b"last", 0)):
                sender = BUCHO if mark == b"forged" else "x@outside.example"
                content = b"Received: a\r\n" * lines + marked(mark.decode())
                submit(pair.gateway.port, sender, [to], content, source="127.0.5.5")
            pair.idle()
            found = [path.read_bytes() for path in pair.backend.mailbox("kacho")]
        return [sum(b"X-Mark: " + mark in one for one in found) for mark in (b"forged", b"edge", b"last")]

    def test_notBelieved(self) -> None:
        """A forged member does not reach the list, and a message at the gateway's limit is taken."""
        self.assertEqual(self.through(["127.0.0.1"]), [0, 1, 1])

    def test_believed(self) -> None:
        """Without the key it is as it was before: the address alone decides."""
        self.assertEqual(self.through([]), [1, 0, 1])


class RestrictedListTests(SynchronousTestCase):
    """A list to which not everybody may write, behind a gateway that asks."""

    def test_notReturned(self) -> None:
        """A stranger hears it from the gateway, which so returns nothing to whom he has forged; a member is let in."""
        folder = Path(self.mktemp())
        pair = Pair(folder, {"relay": {"gateways": ["127.0.0.1"]}, "domains": {"lists": "lists.toml"}, **HASTY}, HASTY)
        (pair.etc / "lists.toml").write_text(f'["staff@test.jp"]\nmembers = "staff.txt"\nowner = "{BUCHO}"\n')
        (pair.etc / "staff.txt").write_text(f"{KACHO}\nmember@outside.example\n")
        with pair:
            for sender, expected in ((USER2, "550 5.7.1"), (BUCHO, "550 5.7.1"), ("member@outside.example", "250 ")):
                said = submit(pair.gateway.port, sender, ["staff@test.jp"], marked("x"), source="127.0.5.5")
                self.assertTrue(said.startswith(expected), (sender, said))
            pair.idle()
            self.assertEqual(pair.gateway.queue("incoming", "holding", "dead"), [])
            self.assertEqual(len(pair.backend.mailbox("kacho")), 1)
            outside = pair.sink.wait(1)  # the member's copy; a notice would have no sender
            self.assertEqual([taken.sender for taken in outside], ["staff-bounces@test.jp"])


class FullBoxTests(SynchronousTestCase):
    """A mailbox that is full, behind a gateway that asks."""

    def test_notTaken(self) -> None:
        """A stranger hears it from the gateway, which keeps nothing."""
        relay = {"relay": {"gateways": ["127.0.0.1"]}, "limits": {"mailbox_octets": 10}}
        with Pair(Path(self.mktemp()), {**relay, **HASTY}, HASTY) as pair:
            self.assertIn("250 ", submit(pair.backend.port, USER2, [KACHO], marked("one"), source="127.0.5.5"))
            said = submit(pair.gateway.port, USER2, [KACHO], marked("two"), source="127.0.5.5")
            self.assertTrue(said.startswith("450 4.2.2 "), said)
            self.assertEqual(pair.gateway.queue("incoming", "holding", "dead"), [])
            self.assertIn("250 ", submit(pair.gateway.port, USER2, [BUCHO], marked("two"), source="127.0.5.5"))


class ProcessTests(SynchronousTestCase):
    """What happens to the processes happens to no message."""

    def pair(self, backend: Sections = HASTY, gateway: Sections = HASTY) -> Pair:
        """A pair for one test."""
        return self.enterContext(Pair(Path(self.mktemp()), backend, gateway))

    def test_killedBackend(self) -> None:
        """What the back-end acknowledged while the gateway was away is sent after both were killed and came back."""
        pair = self.pair()
        pair.gateway.kill()
        self.assertIn("250 ", submit(pair.backend.port, BUCHO, [USER2, KACHO], marked("one")))
        self.assertIn("250 ", submit(pair.backend.port, BUCHO, [KACHO], marked("two")))
        pair.backend.kill()
        self.assertEqual(len(pair.backend.queue()), 1)
        pair.backend.start()
        pair.gateway.start()
        pair.sink.wait(1)
        pair.idle()
        places = pair.census(MARK)
        self.assertEqual(sorted(places), [b"one", b"two"])
        self.assertEqual([place for place in places[b"one"] if place == "sink"], ["sink"])
        self.assertEqual([len([p for p in places[m] if "inbox/kacho" in p]) for m in (b"one", b"two")], [1, 1])

    def test_quit(self) -> None:
        """Behind the reply to QUIT comes the end of the connection, and no reset."""
        pair = self.pair()
        for port in (pair.backend.port, pair.gateway.port):
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                client.sendall(b"EHLO pc\r\n")
                time.sleep(0.1)
                client.sendall(b"QUIT\r\n")
                heard = b"".join(iter(lambda: client.recv(4096), b""))
            self.assertTrue(heard.endswith(b" closing connection.\r\n"), heard)

    def test_numbersAreNeverUsedTwice(self) -> None:
        """After a SIGKILL the numbers go on above every number that was seen."""
        pair = self.pair()
        first = demo.name(submit(pair.backend.port, BUCHO, [KACHO], marked("one")))
        pair.backend.kill()
        pair.backend.start()
        self.assertGreater(demo.name(submit(pair.backend.port, BUCHO, [KACHO], marked("two"))), first)

    def test_tablesAreReadAgain(self) -> None:
        """A rule that is written is in force without a restart; a table with an error leaves the old one in force."""
        pair = self.pair()
        table = pair.etc / "effect.dat"
        rules = table.read_text("utf-8")

        def refused() -> bool:
            return submit(pair.gateway.port, BUCHO, [USER2], marked("x")).startswith("550")

        self.assertFalse(refused())
        table.write_text(f"{BUCHO} false\n{rules}", "utf-8")
        waitUntil("bucho refused", refused, 5)
        table.write_text("nonsense here, true\n", "utf-8")
        waitUntil("the fault in the log", lambda: "effect.dat:1: " in pair.gateway.log(), 5)
        self.assertTrue(refused())
        table.write_text(rules, "utf-8")
        pair.gateway.reload()
        waitUntil("bucho taken again", lambda: not refused(), 5)

    def test_folderIsTaken(self) -> None:
        """A second daemon on one folder refuses to start and names the process that has it; the first goes on."""
        pair = self.pair()
        second = pair.backend
        done = subprocess.run(second.command(), env=second.environment(), capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        assert pair.backend.process is not None
        self.assertIn(str(pair.backend.process.pid).encode(), done.stdout + done.stderr)
        self.assertIn("250 ", submit(pair.backend.port, BUCHO, [KACHO], marked("x")))

    def test_portIsTaken(self) -> None:
        """A daemon that cannot listen where it is told to says so and ends with 1, or nobody would start it again."""
        pair = self.pair()
        sections = pair.gateway.sections()
        sections["server"] |= {"folder": str(pair.folder / "second")}
        sections["server"]["listen"] += ["systemd:domain=INET:index=0"]
        (pair.etc / "second.toml").write_text(toml(sections), "utf-8")
        second = Daemon("gateway", pair.gateway.port, pair.etc / "second.toml")
        done = subprocess.run(second.command(), env=second.environment(), capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        for description in sections["server"]["listen"]:
            words = rf"second\.toml:\d+: cannot listen on {description}: "
            self.assertRegex((done.stdout + done.stderr).decode(), words)
        self.assertFalse((pair.folder / "second").exists())

    def test_fewFiles(self) -> None:
        """Where few files may be open fewer clients are let in, and the log says why."""
        pair = self.pair()
        pair.backend.stop()
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *pair.backend.command()]
        self.patch(pair.backend, "command", lambda: limited)
        pair.backend.start()
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), before)
        self.assertIn("only 64 files may be open (ulimit -n): at most 32 connections, not 12000", pair.backend.log())
        talks = [Conversation(pair.backend.port) for _ in range(40)]
        self.assertIn("250 ", submit(pair.backend.port, BUCHO, [KACHO], marked("x")))
        for talk in talks:
            talk.close()

    def assertFaults(self, pair: Pair, *expected: str) -> None:
        """The back-end, started and with --check, says the same faults, one for each expression, and ends with 1."""
        said = []
        for more in ((), ("--check",)):
            command = pair.backend.command(*more)
            done = subprocess.run(command, env=pair.backend.environment(), capture_output=True, timeout=30)
            self.assertEqual(done.returncode, 1)
            said.append((done.stdout + done.stderr).decode().splitlines())
        self.assertEqual(said[0], said[1])
        self.assertEqual(len(said[0]), len(expected), said[0])
        for line, expression in zip(said[0], expected, strict=True):
            self.assertRegex(line, expression)

    def test_wrongConfiguration(self) -> None:
        """A daemon with a wrong configuration says what --check says, all of it, ends with 1 and listens nowhere."""
        pair = self.pair()
        pair.backend.stop()
        pair.backend.configure({"relay": {"netwroks": []}, "queue": {"concurrency": 0}})
        self.assertFaults(
            pair, r"backend\.toml:\d+: .*netwroks.*expected networks", r"backend\.toml:\d+: .*concurrency"
        )

    def test_wrongTables(self) -> None:
        """The faults of all tables are told at once."""
        pair = self.pair()
        pair.backend.stop()
        (pair.etc / "accounts.dat").write_bytes(b"bucho\tx\n\nno account\tx\n")
        (pair.etc / "aliases.dat").write_bytes(b"a@test.jp\n")
        self.assertFaults(pair, r"accounts\.dat:3: .*expected", r"aliases\.dat:1: .*expected")
