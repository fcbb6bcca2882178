"""The providers in memory hold the contracts, so that other rooms may be tested with them."""

from epost.interfaces import IInbox, ISerial, ISpool
from epost.mail.reply import Reply
from epost.mail.route import Local
from tests.storage.contracts import ENVELOPE, QUEUED, SEED, InboxContract, SerialContract, SpoolContract
from tests.storage.memory import MemoryInbox, MemorySerial, MemorySpool


class MemorySpoolTests(SpoolContract):
    """L{MemorySpool}."""

    def setUp(self) -> None:
        """A spool."""
        self.spool = self.memory = MemorySpool()

    def next(self) -> ISpool:
        """What is left."""
        return self.memory.reborn()

    def test_manual(self) -> None:
        """A commit fires when the test says so."""
        self.memory.ticks.manual = True
        fired = self.spool.draft(SEED, ENVELOPE, QUEUED).commit()
        self.assertNoResult(fired)
        self.memory.ticks.tick()
        self.successResultOf(fired)

    def test_faults(self) -> None:
        """A commit fails with what the test says."""
        self.memory.ticks.faults.append(Reply(452, ("full",), "4.3.1"))
        self.failureResultOf(self.spool.draft(SEED, ENVELOPE, QUEUED).commit())
        self.assertEqual(self.spool.count(), 0)


class MemoryInboxTests(InboxContract):
    """L{MemoryInbox}."""

    def setUp(self) -> None:
        """Mailboxes."""
        self.inbox = self.memory = MemoryInbox()

    def next(self) -> IInbox:
        """The same."""
        return self.memory

    def stored(self, box: Local) -> dict[str, bytes]:
        """With LF."""
        return {name: whole.replace(b"\r\n", b"\n") for name, whole in self.memory.boxes.get(box, {}).items()}


class MemorySerialTests(SerialContract):
    """L{MemorySerial}."""

    def make(self) -> ISerial:
        """A serial."""
        return MemorySerial()


del SpoolContract, InboxContract, SerialContract  # trial must not run them bare
