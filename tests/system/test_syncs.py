"""
House 5's contract, proved from outside: the real daemons under strace take messages over several connections, and no
250 leaves before what it promises was synced. The judge is judged first, by traces that break the rules.

Where strace is missing, or may not trace, the tests of daemons are skipped and say so.
"""

import shutil
import subprocess
import threading
from itertools import product
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.system.conversation import Conversation, submit
from tests.system.pair import Pair, waitUntil
from tests.system.syncs import Traced, Verdict, judged

BUCHO, USER1, KACHO = "bucho@test.jp", "user1@test.jp", "kacho@test.jp"
USER2, NOBODY = "user2@test-sample00.jp", "nobody@test-sample00.jp"
ONE, TWO, ABROAD = [USER1], [USER1, KACHO], [USER2]
SHORT, LONG = b"X-Mark: short\r\n\r\ntext\r\n", b"X-Mark: long\r\n\r\n" + b"text text\r\n" * 20_000

# One message on its way into the queue, as strace tells it.
INVITED = 'sendto(9<socket:[7]>, "354 Start;id <B0000000001> end\\r\\n", 33, 0, NULL, 0) = 33'
CREATED = 'openat(AT_FDCWD</w>, "/w/incoming/B0000000001", O_RDWR|O_CREAT, 0600) = 5</w/incoming/B0000000001>'
WRITTEN = 'write(5</w/incoming/B0000000001>, "x", 1) = 1'
SYNCED = "fsync(5</w/incoming/B0000000001>) = 0"
NAMED = "fsync(6</w/incoming>) = 0"
GLOBAL = "syncfs(4</w/incoming>) = 0"
REPLIED = 'sendto(9<socket:[7]>, "250 ok\\r\\n", 8, 0, NULL, 0) = 8'
REMOVED = 'unlink("/w/incoming/B0000000001") = 0'

# And a copy of it on its way into a mailbox.
COPIED = 'openat(AT_FDCWD</w>, "/w/u/tmp/B0000000001.MSG", O_RDWR|O_CREAT, 0600) = 7</w/u/tmp/B0000000001.MSG>'
FILLED = 'write(7</w/u/tmp/B0000000001.MSG>, "x", 1) = 1'
PROVED = "fsync(7</w/u/tmp/B0000000001.MSG>) = 0"
GIVEN = 'rename("/w/u/tmp/B0000000001.MSG", "/w/u/new/B0000000001.MSG") = 0'
BOXED = "fsync(8</w/u/new>) = 0"


def of(*calls: str) -> Verdict:
    """The verdict on calls of one thread; a call that names its thread itself is left as it is."""
    return judged("\n".join(call if call[0].isdigit() else f"1 {call}" for call in calls))


class JudgeTests(SynchronousTestCase):
    """L{judged} finds what breaks a rule, and nothing else."""

    def assertFault(self, expression: str, *calls: str) -> None:
        """There is one fault, and it says this."""
        faults = of(*calls).faults
        self.assertEqual(len(faults), 1, faults)
        self.assertRegex(faults[0], expression)

    def test_queued(self) -> None:
        """Content and folder synced, by whatever call, then 250: as it should be."""
        for syncs in ([SYNCED, NAMED], [NAMED, SYNCED.replace("fsync", "fdatasync")], [GLOBAL]):
            verdict = of(INVITED, CREATED, WRITTEN, *syncs, REPLIED, REMOVED)
            self.assertEqual((verdict.acknowledged, verdict.faults), (["B0000000001"], []))

    def test_missingSync(self) -> None:
        """Content that nobody synced is found, and a folder."""
        self.assertFault("250, but the content of .*1 is not synced$", INVITED, CREATED, WRITTEN, NAMED, REPLIED)
        self.assertFault("250, but the name of .*1 is not synced$", INVITED, CREATED, WRITTEN, SYNCED, REPLIED)

    def test_anotherSync(self) -> None:
        """The sync of another file or folder is none."""
        other = [SYNCED.replace("B0000000001", "B0000000002"), NAMED.replace("incoming", "holding")]
        self.assertFault("the content of .* and the name of", INVITED, CREATED, WRITTEN, *other, REPLIED)

    def test_failedSync(self) -> None:
        """A sync that failed is none, and one after it proves nothing."""
        for good in (SYNCED, GLOBAL):
            failed = good.replace("= 0", "= -1 EIO (Input/output error) (INJECTED)")
            for again in ([], [good]):
                calls = [INVITED, CREATED, WRITTEN, NAMED, failed, *again, REPLIED]
                self.assertFault("the content", *calls)

    def test_newFileAfterFailure(self) -> None:
        """A new file after a sync that failed is as good as any."""
        failed = SYNCED.replace("= 0", "= -1 EIO (Input/output error)")
        calls = [INVITED, CREATED, WRITTEN, failed, REMOVED, CREATED, WRITTEN, SYNCED, NAMED, REPLIED]
        self.assertEqual(of(*calls).faults, [])

    def test_afterTheReply(self) -> None:
        """A sync that comes after the reply is too late; one that returns after it too."""
        self.assertFault("the content", INVITED, CREATED, WRITTEN, NAMED, REPLIED, SYNCED)
        begun, returned = SYNCED.replace(") = 0", " <unfinished ...>"), "2 <... fsync resumed>) = 0"
        self.assertFault("the content", INVITED, CREATED, WRITTEN, NAMED, f"2 {begun}", REPLIED, returned)
        self.assertEqual(of(INVITED, CREATED, WRITTEN, NAMED, f"2 {begun}", returned, REPLIED).faults, [])

    def test_beforeTheWrite(self) -> None:
        """A sync covers nothing that was written after it began, though it returns later."""
        begun, returned = SYNCED.replace(") = 0", " <unfinished ...>"), "2 <... fsync resumed>) = 0"
        self.assertFault("the content", INVITED, CREATED, f"2 {begun}", WRITTEN, returned, NAMED, REPLIED)

    def test_writtenAgain(self) -> None:
        """What was synced and is written to again must be synced again; so must what is just being written to."""
        again = WRITTEN.replace("write(", "pwrite64(")
        self.assertFault("the content", INVITED, CREATED, WRITTEN, SYNCED, NAMED, again, REPLIED)
        begun, returned = again.replace(") = 1", " <unfinished ...>"), "2 <... pwrite64 resumed>) = 1"
        self.assertFault("the content", INVITED, CREATED, WRITTEN, SYNCED, NAMED, f"2 {begun}", REPLIED, returned)

    def test_nothingThere(self) -> None:
        """250 for a message that stands nowhere, or in tmp, is found."""
        self.assertFault("stands nowhere", INVITED, REPLIED)
        self.assertFault("stands nowhere", INVITED, COPIED, FILLED, GLOBAL, REPLIED)

    def test_notToThatClient(self) -> None:
        """What another connection is told, and a refusal, promises nothing for this message."""
        other = REPLIED.replace("[7]", "[8]")
        self.assertEqual(of(INVITED, other, REPLIED.replace("250", "451")).acknowledged, [])

    def test_pipelined(self) -> None:
        """Replies in one write are read one by one."""
        both = 'sendto(9<socket:[7]>, "250 ok\\r\\n354 go <B0000000001>\\r\\n", 40, 0, NULL, 0) = 40'
        verdict = of(both, CREATED, GLOBAL, REPLIED.replace("ok\\r\\n", "ok\\r\\n221 bye\\r\\n"))
        self.assertEqual((verdict.acknowledged, verdict.faults), (["B0000000001"], []))

    def test_newFolder(self) -> None:
        """A folder that was made is synced in its parent before a message in it is acknowledged."""
        calls = [INVITED, 'mkdir("/w/incoming", 0700) = 0', CREATED, WRITTEN, SYNCED, NAMED]
        self.assertFault("the name of /w/incoming is not synced", *calls, REPLIED)
        self.assertEqual(of(*calls, "fsync(6</w>) = 0", REPLIED).faults, [])

    def test_mailbox(self) -> None:
        """Content, sync, name, sync: the two syncs may be of any kind, and neither may be missing."""
        for syncs in ((PROVED, BOXED), (GLOBAL, GLOBAL)):
            self.assertEqual(of(INVITED, COPIED, FILLED, syncs[0], GIVEN, syncs[1], REPLIED).faults, [])
        self.assertFault("got its name, but the content", INVITED, COPIED, FILLED, GIVEN, GLOBAL, REPLIED)
        self.assertFault("250, but the name of /w/u/new/B", INVITED, COPIED, FILLED, PROVED, GIVEN, REPLIED)

    def test_letGo(self) -> None:
        """The queue lets go of a message when its copy is synced, not before."""
        queued = [INVITED, CREATED, WRITTEN, GLOBAL, REPLIED, COPIED, FILLED, PROVED, GIVEN]
        self.assertFault("let go of .*, but the name of /w/u/new", *queued, REMOVED, BOXED)
        verdict = of(*queued, BOXED, REMOVED)
        self.assertEqual((verdict.copies, verdict.faults), ({"B0000000001": 1}, []))

    def test_returned(self) -> None:
        """It lets go of one that failed when the notice is synced, be that in the queue or in a mailbox."""
        queued = [INVITED, CREATED, WRITTEN, GLOBAL, REPLIED]
        for steps in ([CREATED, WRITTEN], [COPIED, FILLED, PROVED, GIVEN]):
            notice = [step.replace("0001", "0001-R0001-E001") for step in steps]
            self.assertFault("let go of .*, but the .*E001", *queued, *notice, REMOVED, GLOBAL)
            self.assertEqual(of(*queued, *notice, GLOBAL, REMOVED).copies, {"B0000000001": 1})


class SyncTests(SynchronousTestCase):
    """What the daemons ask of the kernel."""

    def setUp(self) -> None:
        if shutil.which("strace") is None:
            raise SkipTest("strace is not installed, so no daemon is watched")
        done = subprocess.run(["strace", "-D", "-f", "-o", "/dev/null", "true"], capture_output=True, text=True)
        if done.returncode:
            raise SkipTest(f"strace may not trace here: {done.stderr.strip()}")

    def pair(self, sync: str, *options: str) -> tuple[Pair, Traced, Traced]:
        """A pair under strace, not yet started. @param options: of the back-end's strace."""
        folder = Path(self.mktemp()).resolve()
        pair = Pair(folder, {"spool": {"sync": sync}}, {"spool": {"sync": sync}, "retry": {"refused": []}})
        pair.sink.answer = lambda command: "550 unknown" if NOBODY in command else None
        backend = pair.backend = Traced(pair.backend, folder / "backend.strace", *options)
        gateway = pair.gateway = Traced(pair.gateway, folder / "gateway.strace")
        return pair, backend, gateway

    def load(self, pair: Pair) -> int:
        """Six messages on each of four connections at once. @return: how many were answered 250."""
        replies: list[str] = []

        def client() -> None:
            with Conversation(pair.backend.port) as conversation:
                conversation.say("EHLO test")
                for content, recipients in product((SHORT, LONG), (ONE, TWO, ABROAD)):
                    replies.append(conversation.mail(BUCHO, recipients, content))

        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(reply.startswith("250") for reply in replies)

    def watched(self, sync: str) -> Verdict:
        """The verdict on the back-end, behind that on the gateway."""
        pair, backend, gateway = self.pair(sync)
        with pair:
            self.assertEqual(self.load(pair), 24)
            pair.sink.wait(8)
            submit(pair.backend.port, BUCHO, [NOBODY], SHORT)
            waitUntil("the notice", lambda: pair.backend.mailbox("bucho"))
            pair.idle()
        verdict = judged(gateway.traced())
        self.assertEqual((verdict.faults, len(verdict.acknowledged)), ([], 9))
        self.assertEqual(sorted(verdict.copies.values()), [0] * 9 + [1])  # sent on, one of them a notice; returned
        verdict = judged(backend.traced())
        self.assertEqual((verdict.faults, len(verdict.acknowledged)), ([], 26))
        self.assertEqual(sorted(verdict.copies.values()), [0] * 9 + [2] * 8)  # sent on; and in two mailboxes
        return verdict

    def test_fsync(self) -> None:
        """With fsync every 250, of both daemons, comes after the syncs that it promises."""
        self.assertEqual(self.watched("fsync").syncs, {"fsync"})

    def test_syncfs(self) -> None:
        """With syncfs too."""
        if "syncfs" not in self.watched("syncfs").syncs:
            raise SkipTest("syncfs cannot be believed here, so fsync was watched once more")

    def test_failure(self) -> None:
        """Where a sync fails the client is told 451 and nothing of his message stays; the next one is taken."""
        pair, backend, _ = self.pair("syncfs", "-e", "inject=syncfs:error=EIO:when=1..2")
        with pair:
            replies = [submit(pair.backend.port, BUCHO, to, SHORT)[:3] for to in (ONE, TWO, ONE, TWO)]
            pair.idle()
            kept = [len(pair.backend.mailbox(user)) for user in ("user1", "kacho")]
        trace = backend.traced()
        if "syncfs(" not in trace:
            raise SkipTest("syncfs cannot be believed here, so no sync was made to fail")
        self.assertEqual((replies, kept), (["451", "451", "250", "250"], [2, 1]))
        verdict = judged(trace)
        self.assertEqual((len(verdict.acknowledged), verdict.faults), (2, []))
