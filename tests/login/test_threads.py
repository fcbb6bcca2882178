"""Tests of L{epost.login.threads}: two threads, and a queue with an end."""

import threading

from twisted.internet.defer import Deferred, DeferredList
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from epost.interfaces import IWorkers
from epost.login.threads import MOST, THREADS, Threads
from epost.mail.reply import Refused


class ThreadsTests(TestCase):
    """Run with the reactor, since it is what they call back."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.threads = Threads(reactor)  # type: ignore[arg-type]
        self.addCleanup(self.threads.stop)

    def test_claims(self) -> None:
        """They are what they claim to be."""
        verifyObject(IWorkers, self.threads)

    async def test_results(self) -> None:
        """What a function returns comes back in the reactor's thread, and what it raises as well."""
        self.assertEqual(await self.threads.run(divmod, 7, 2), (3, 1))
        with self.assertRaises(ZeroDivisionError):
            await self.threads.run(divmod, 7, 0)
        self.assertNotEqual(await self.threads.run(threading.get_ident), threading.get_ident())
        answer = self.threads.run(int).addCallback(lambda result: threading.get_ident())
        self.assertEqual(await answer, threading.get_ident())

    async def test_bounded(self) -> None:
        """No more than two run, no more than a bound wait, and when these are done there is room again."""
        gate = threading.Event()
        self.addCleanup(gate.set)
        running = set()

        def work() -> None:
            running.add(threading.get_ident())
            gate.wait(30)

        answers: list[Deferred[object]] = [self.threads.run(work) for _ in range(MOST)]
        refused = self.assertRaises(Refused, self.threads.run, work)
        self.assertEqual(str(refused.reply), "454 4.7.0 Temporary authentication failure.")
        gate.set()
        await DeferredList(answers)
        self.assertLessEqual(len(running), THREADS)
        self.assertEqual(await self.threads.run(int), 0)

    async def test_stop(self) -> None:
        """At the end what runs is finished, whatever waits is finished or given up, and everybody gets an answer."""
        started = threading.Barrier(THREADS + 1)
        answers = [self.threads.run(started.wait, 30) for _ in range(THREADS)]
        answers += [self.threads.run(int) for _ in range(10)]
        started.wait(30)
        self.threads.stop()
        found = await DeferredList(answers, consumeErrors=True)
        self.assertTrue(all(success for success, _ in found[:THREADS]))
        self.assertEqual(len(found), THREADS + 10)
        self.assertRaises(RuntimeError, self.threads.run, int)
