"""
A machine that fails: no room, no descriptors, folders that go away, files that were damaged. Real daemons under load.

Everywhere the same holds: a client hears 250, 451 or 452 (or is closed), what got its 250 is accounted for, the daemon
goes on by itself when the fault is over, and its log says what is wrong, not thousands of times.
"""

import os
import re
import resource
import socket
import stat
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.system.conversation import Conversation, submit
from tests.system.faults import SmallDisk, firstFree, limited, readOnly, unusable, without
from tests.system.pair import Daemon, Pair, Sections, waitUntil
from tests.system.sink import END, Sink
from tests.system.soak import COLLEAGUE, HASTY, INSIDE, MARK, OUTSIDE, Load, soak

BUCHO = "bucho@test.jp"
FEW = 30  # lines of a daemon's log, those of its start and end among them
EACH = re.compile(r"\[twisted\.internet\.tcp\.Port#info\] .*EMFILE")  # lines that there may be for each connection
ANSWERS = {"250", "451", "452"}


class FaultCase(SynchronousTestCase):
    """A pair, load on it, and what must hold in the end."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.load = Load(pause=0.005)
        self.addCleanup(self.load.stop)

    def pair(self, backend: Sections = HASTY, gateway: Sections = HASTY) -> Pair:
        """A pair for one test."""
        return self.enterContext(Pair(self.folder, backend, gateway))

    def acknowledged(self, more: int) -> None:
        """Wait until so many more messages have got their 250."""
        count = len(self.load.acknowledged) + more
        waitUntil(f"{more} more messages taken", lambda: len(self.load.acknowledged) >= count)

    def refused(self, *codes: str) -> None:
        """Wait until a client was told one of these."""
        waitUntil(f"a refusal {codes}", lambda: any(reply.startswith(codes) for reply in self.load.replies))

    def accounted(self, pair: Pair) -> None:
        """The load ends, the queue drains, nothing is lost, and nobody was told anything strange."""
        self.load.stop()
        pair.idle()
        self.assertEqual(self.load.lost(pair.census(MARK)), {})
        self.assertLessEqual({reply[:3] for reply in self.load.replies}, ANSWERS, self.load.replies)

    def started(self, daemon: Daemon) -> None:
        """Start a daemon anew: what could not be read it would look at again after a minute, and so does at once."""
        self.load.stop()
        daemon.restart()

    def assertQuiet(self, daemon: Daemon) -> None:
        """The daemon's log is short but for L{EACH}, and nothing in it is a traceback."""
        log = daemon.log()
        self.assertNotIn("Traceback", log)
        lines = [line for line in log.splitlines() if not EACH.search(line)]
        self.assertLess(len(lines), FEW, "\n".join(lines[:50]))


class SoakTests(SynchronousTestCase):
    """The test that kills, in small: C{make soak} is the long one."""

    def test_threeKills(self) -> None:
        """After three kills under load nothing that got its 250 is lost."""
        self.assertTrue(soak(Path(self.mktemp()), 3, seed=1))


class FullTests(FaultCase):
    """A disk that is full for a while."""

    def small(self, backend: Sections = HASTY) -> tuple[Pair, SmallDisk]:
        """A pair whose back-end has a small disk."""
        made = Pair(self.folder, backend, HASTY)
        disk = SmallDisk(made.backend.folder, self.folder / "disk.img")
        self.addCleanup(disk.unmount)
        if disk.why:
            raise SkipTest(f"no small file system: {disk.why}")
        return self.enterContext(made), disk

    def test_fullDisk(self) -> None:
        """Without a reserve: 452 for what does not fit, and when there is room again all goes on by itself."""
        pair, disk = self.small({**HASTY, "spool": {"reserve_octets": 0, "reserve_files": 0}})
        self.load.mixed(pair)
        self.load.start(pair.backend, BUCHO, [INSIDE, COLLEAGUE], 200_000)
        self.acknowledged(50)
        disk.fill(0)
        self.refused("452")
        time.sleep(2)
        disk.relieve()
        self.acknowledged(50)
        self.accounted(pair)
        self.assertQuiet(pair.backend)
        self.assertIn("lines are missing", pair.backend.log())

    def test_lowWater(self) -> None:
        """With the reserve that it has by itself mail is refused before the disk is full, and the queue drains."""
        pair, disk = self.small()
        self.load.mixed(pair)
        self.acknowledged(50)
        disk.fill(1_200_000)
        self.refused("452")
        waitUntil("an empty queue", lambda: not pair.backend.queue("incoming", "holding"))
        disk.relieve()
        self.acknowledged(50)
        self.accounted(pair)
        self.assertQuiet(pair.backend)
        self.assertNotIn("No space left", pair.backend.log())
        self.assertEqual(len(re.findall("new mail is refused", pair.backend.log())), 1)
        self.assertEqual(len(re.findall("new mail is taken again", pair.backend.log())), 1)

    def test_announced(self) -> None:
        """A message that its client announces as larger than what is free is refused at MAIL, a smaller one taken."""
        pair, disk = self.small()
        disk.fill(10_000_000)
        with Conversation(pair.backend.port) as client:
            client.say("EHLO test")
            reply = client.say(f"MAIL FROM:<{BUCHO}> SIZE=10000000")
            self.assertEqual(reply, "452 4.3.1 Requested action not taken: insufficient system storage.")
            self.assertIn("250 2.0.0", client.mail(BUCHO, [INSIDE], b"x\r\n", parameters=" SIZE=5000000"))
        self.assertNotIn("refused", pair.backend.log())

    def test_reserve(self) -> None:
        """With a reserve that no disk has nothing is taken, and the log says so once."""
        pair = self.pair({**HASTY, "spool": {"reserve_octets": 2**50}})
        self.load.mixed(pair)
        waitUntil("refusals", lambda: self.load.replies["452 4.3.1"] > 50)
        self.load.stop()
        self.assertEqual(pair.backend.log().count("new mail is refused"), 1)
        self.assertQuiet(pair.backend)


class LimitTests(FaultCase):
    """Limits of the process: files that may not grow, descriptors that have run out. No root is needed."""

    def test_draftAndCommit(self) -> None:
        """A long message fails while it comes, a short one when it is stored: 452, and nothing of either is left."""
        pair = self.pair()
        long, short = b"x" * 70 + b"\r\n", b"X-Mark: x\r\n\r\n" + b"y" * 70 + b"\r\n"
        for recipients in ([INSIDE], [INSIDE, COLLEAGUE]):
            with limited(pair.backend, resource.RLIMIT_FSIZE, 12_000):
                self.assertIn("452 4.3.1", submit(pair.backend.port, BUCHO, recipients, long * 2000))
                self.assertIn("452 4.3.1", submit(pair.backend.port, BUCHO, recipients, long * 300))
                self.assertIn("250 2.0.0", submit(pair.backend.port, BUCHO, recipients, short))
            self.assertIn("250 2.0.0", submit(pair.backend.port, BUCHO, recipients, long * 2000))
        pair.idle()
        self.assertEqual([len(pair.backend.mailbox(user)) for user in ("user1", "kacho")], [4, 2])
        self.assertEqual(list(pair.backend.folder.glob("inbox/*/tmp/*")), [])
        self.assertQuiet(pair.backend)

    def test_log(self) -> None:
        """A log that takes nothing stops no mail; it is told once, and how many lines are missing."""
        pair = self.pair()
        submit(pair.backend.port, BUCHO, [INSIDE], b"X-Mark: x\r\n\r\n")
        for folder in ("senderlog", "receivelog"):
            logs = pair.backend.folder / folder
            (file,) = waitUntil(folder, lambda logs=logs: list(logs.glob("*.log")))
            with file.open("ab") as log:
                log.write(b"x" * 50_000)
        with limited(pair.backend, resource.RLIMIT_FSIZE, 50_000):
            self.load.mixed(pair)
            self.acknowledged(200)
            waitUntil("the fault in the log", lambda: pair.backend.log().count("goes on without this log") == 2)
        waitUntil("the end in the log", lambda: pair.backend.log().count("lines are missing") == 2)
        self.accounted(pair)
        self.assertQuiet(pair.backend)

    def test_mailbox(self) -> None:
        """A mailbox that takes nothing while others do: its mail waits in the queue and comes when it is over."""
        pair = self.pair()
        with unusable(pair.backend.folder / "inbox"):
            self.load.mixed(pair)
            self.refused("451")
            time.sleep(1)
        self.acknowledged(50)
        self.accounted(pair)
        self.assertQuiet(pair.backend)

    def test_descriptorsWhileAccepting(self) -> None:
        """With no descriptor left new clients are closed or wait, who is connected hears 451; then all goes on."""
        pair = self.pair()
        with Conversation(pair.backend.port) as old, ExitStack() as stack:
            old.say("EHLO test")
            with limited(pair.backend, resource.RLIMIT_NOFILE, firstFree(pair.backend)):
                for _ in range(50):
                    client = stack.enter_context(socket.create_connection(("127.0.0.1", pair.backend.port), 5))
                    self.assertEqual(client.recv(3), b"")
                for recipients in ([INSIDE], [INSIDE, COLLEAGUE]):
                    self.assertIn("451 4.3.0", old.mail(BUCHO, recipients, b"X-Mark: x\r\n\r\n"))
            self.assertIn("250 2.0.0", old.mail(BUCHO, [INSIDE], b"X-Mark: x\r\n\r\n"))
        self.load.mixed(pair)
        self.acknowledged(50)
        self.accounted(pair)
        self.assertQuiet(pair.backend)

    def test_descriptorsWhileDelivering(self) -> None:
        """With no descriptor left for the gateway's connections nothing is lost, and it all goes out when there are."""
        pair = self.pair()
        pair.sink.answer = lambda command: "450 4.2.0 later" if command.startswith("RCPT") else None
        self.load.start(pair.gateway, "sato@test-sample00.jp", [OUTSIDE])
        self.load.start(pair.backend, BUCHO, [OUTSIDE])
        self.acknowledged(50)
        self.load.stop()
        with limited(pair.gateway, resource.RLIMIT_NOFILE, 12):
            pair.sink.answer = lambda command: None
            time.sleep(3)
        submit(pair.gateway.port, "sato@test-sample00.jp", [OUTSIDE], b"X-Mark: x\r\n\r\n")
        pair.sink.wait(1)
        self.started(pair.gateway)
        self.accounted(pair)
        self.assertQuiet(pair.gateway)


class FolderTests(FaultCase):
    """Folders that go away and come back under load."""

    def test_queueVanishes(self) -> None:
        """Without a folder of the queue 451; when it is back all goes on, and what was in it is delivered."""
        pair = self.pair()
        self.load.mixed(pair)
        for folder in ("incoming", "holding"):
            self.acknowledged(50)
            with without(pair.backend.folder / folder):
                time.sleep(1)
        self.refused("451")
        self.acknowledged(50)
        self.started(pair.backend)
        self.accounted(pair)
        self.assertQuiet(pair.backend)
        notices = [path for path in pair.backend.mailbox("bucho") if "-E" in path.name]
        self.assertEqual(notices, [])

    def test_mailboxVanishes(self) -> None:
        """A mailbox that somebody moves away under load is made anew, and no message is refused or lost."""
        pair = self.pair()
        self.load.mixed(pair)
        self.acknowledged(50)
        with without(pair.backend.folder / "inbox/kacho"):
            self.acknowledged(50)
            fresh = pair.backend.folder / "inbox/kacho/new"
            waitUntil("a new mailbox", fresh.is_dir)
            self.load.stop()
            pair.idle()
            for name in ("new", "cur", "tmp"):
                for path in (fresh.parent / name).iterdir():
                    path.rename(pair.backend.folder / "inbox/kacho.aside" / name / path.name)
                (fresh.parent / name).rmdir()
        self.accounted(pair)
        self.assertQuiet(pair.backend)

    def test_logVanishes(self) -> None:
        """Where its folders cannot be used no log is written; mail goes on, and the log too when they are back."""
        pair = self.pair()
        self.load.mixed(pair)
        self.acknowledged(50)
        with unusable(pair.backend.folder / "senderlog"), unusable(pair.backend.folder / "receivelog"):
            self.acknowledged(50)
            waitUntil("the faults in the log", lambda: pair.backend.log().count("goes on without this log") == 2)
        waitUntil("the end in the log", lambda: pair.backend.log().count("lines are missing") == 2)
        self.accounted(pair)
        self.assertNotIn("451 4.3.0", self.load.replies)
        self.assertQuiet(pair.backend)

    def test_readOnly(self) -> None:
        """Folders that take nothing for a while."""
        pair = self.pair()
        self.load.mixed(pair)
        for folder in ("incoming", "holding", "inbox"):
            self.acknowledged(50)
            with readOnly(pair.backend.folder / folder) as why:
                if why:
                    raise SkipTest(f"nothing can be made read-only here: {why}")
                time.sleep(1)
        self.refused("451")
        self.acknowledged(50)
        self.started(pair.backend)
        self.accounted(pair)
        self.assertQuiet(pair.backend)


class DestinationTests(FaultCase):
    """Hosts that take what others need."""

    def test_hangsAndFloods(self) -> None:
        """A host that never greets and one that takes its time, each with a flood of mail, hold up nobody else's."""
        gate = threading.Event()
        slow, fast = self.enterContext(Sink()), self.enterContext(Sink())
        slow.answer = lambda command: None if command != END or gate.wait(60) else "450 4.2.0 late"
        deaf = self.enterContext(socket.create_server(("127.0.0.1", 0), backlog=100))
        made = Pair(self.folder, HASTY, {**HASTY, "relay": {"verify": False}})
        ports = {"deaf.example": deaf.getsockname()[1], "slow.example": slow.port, "fast.example": fast.port}
        table = "".join(f"{domain}, 127.0.0.1, {port}\n" for domain, port in ports.items())
        (made.etc / "gateway.dat").write_text(table)
        pair = self.enterContext(made)
        with Conversation(pair.gateway.port) as client:
            client.say("EHLO test")
            for count, domain in (300, "slow"), (300, "deaf"), (20, "fast"):
                for _ in range(count):
                    reply = client.mail(BUCHO, [f"user@{domain}.example"], b"X-Mark: x\r\n\r\n")
                    self.assertTrue(reply.startswith("250"), reply)
            fast.wait(20)
        self.assertEqual(slow.messages, [])
        gate.set()
        slow.wait(300)
        waitUntil("only the deaf one's left", lambda: len(pair.gateway.queue("incoming", "holding")) == 300)
        self.assertQuiet(pair.gateway)
        pair.gateway.kill()  # else its attempts have ten seconds to end


class DamageTests(FaultCase):
    """Files of the queue that somebody or something damaged."""

    def test_damaged(self) -> None:
        """What is damaged goes to dead with the reason, what is no file is left alone, and the others go on."""
        pair = self.pair()
        pair.sink.answer = lambda command: "450 4.2.0 later" if command.startswith("RCPT") else None
        self.load.start(pair.gateway, "sato@test-sample00.jp", [OUTSIDE])
        self.acknowledged(20)
        self.load.stop()
        waitUntil("all deferred", lambda: not pair.gateway.queue("incoming"))
        pair.gateway.stop()
        holding, incoming, dead = (pair.gateway.folder / name for name in ("holding", "incoming", "dead"))
        cut, flipped, emptied, zeroed, *rest = pair.gateway.queue("holding")
        for path in (cut, flipped, emptied, zeroed):
            found = MARK.search(path.read_bytes())
            assert found is not None
            del self.load.acknowledged[found[1]]
        cut.write_bytes(cut.read_bytes()[:300])
        octets = bytearray(flipped.read_bytes())
        octets[octets.index(b"yyy")] ^= 1
        flipped.write_bytes(octets)
        emptied.write_bytes(b"")
        zeroed.write_bytes(bytes(1000))
        (incoming / "B0000009001").write_bytes(b"From: somebody\r\n\r\nno file of ours\r\n")
        links = {"B0000009002": "/etc/passwd", "B0000009003": "nowhere", "B0000009004": str(rest[0])}
        for name, goal in links.items():
            (incoming / name).symlink_to(goal)
        (incoming / "B0000009005").mkdir()
        os.mkfifo(incoming / "B0000009006")
        os.mknod(incoming / "B0000009007", stat.S_IFSOCK | 0o600)
        (incoming / "notes.txt").write_text("of the operator")
        os.mkfifo(holding / f"{rest[1].name[:11]}-R0009")  # as if it were a later attempt of a message that is there

        pair.sink.answer = lambda command: None
        pair.gateway.start()
        self.accounted(pair)
        self.assertEqual(sum(bool(message.recipients) for message in pair.sink.messages), len(rest))
        strange = ["B0000009005", "B0000009006", "B0000009007", "notes.txt"]
        self.assertEqual(sorted(os.listdir(incoming)), strange)
        for name in strange:
            self.assertRegex(pair.gateway.log(), rf"/{name} is no \w+ and is left alone")
        damaged = [path.name for path in (cut, flipped, emptied, zeroed)]
        pipe = f"{rest[1].name[:11]}-R0009"
        self.assertEqual(sorted(os.listdir(dead)), sorted([*damaged, "B0000009001", *links, pipe]))
        for name in (*damaged, "B0000009001"):
            self.assertRegex((dead / name).read_bytes(), rb"\ndead: damaged, or torn .*: .+\n\Z")
        self.assertNotIn(b"dead:", Path("/etc/passwd").read_bytes())
        self.assertNotIn("Traceback", pair.gateway.log())
