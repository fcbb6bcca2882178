"""The committing thread does all that it is given, in order, whatever becomes of it."""

import threading

from twisted.trial.unittest import SynchronousTestCase

from epost.storage.thread import CommitThread


class ThreadTests(SynchronousTestCase):
    """L{CommitThread}."""

    def test_order(self) -> None:
        """In order, in one thread that is not ours; a stop waits for what was given before."""
        thread, done = CommitThread("test"), []
        thread.start()
        for number in range(100):
            thread.callInThread(lambda n: done.append((n, threading.current_thread().name)), number)
        thread.stop()
        self.assertEqual(done, [(number, "test") for number in range(100)])

    def test_bug(self) -> None:
        """What is raised is logged and ends nothing."""
        thread, done = CommitThread("test"), []
        thread.start()
        thread.callInThread(lambda: 1 // 0)
        thread.callInThread(done.append, 1)
        thread.stop()
        self.assertEqual(done, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_neverStarted(self) -> None:
        """One that was made and not started leaves no thread behind."""
        before = threading.active_count()
        CommitThread("test")
        self.assertEqual(threading.active_count(), before)
