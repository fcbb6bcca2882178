"""
What a daemon has in its work folder: the queue, the mailboxes, the numbers, the logs, and the thread that writes.

All of it is opened when the process is the user that it will be, and let go of in the order in which it is written.
"""

import os
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from epost.mail.route import Local
from epost.mail.srs import Srs
from epost.settings import Settings
from epost.storage.disk import IDisk
from epost.storage.durable import Commits
from epost.storage.hints import Hints
from epost.storage.inbox import Inbox
from epost.storage.journal import ReceiveLog, SenderLog
from epost.storage.places import Places
from epost.storage.room import Room
from epost.storage.secret import secrets
from epost.storage.serial import Serial
from epost.storage.spool import INCOMING, Spool
from epost.storage.thread import Worker

_log = Logger()


class Store:
    """
    A work folder in use.

    @ivar inbox: the mailboxes; L{None} on a gateway.
    @ivar hints: what accounts have used and whom they have answered; L{None} on a gateway.
    @ivar srs: signs the reverse paths of what is sent on; L{None}: they stay.
    @ivar room: looked at before mail is taken: the file systems of the queue and of the mailboxes.
    """

    def __init__(self, settings: Settings, clock: Any, disk: IDisk, pool: Worker) -> None:
        """
        @param clock: the reactor.
        @param disk: where all but the logs lies.
        @param pool: whose thread commits; it is started here.
        @raise OSError: something cannot be read or made.
        @raise ValueError: what is there cannot be, or the mailboxes cannot lie where they are configured.
        @raise SerialDamaged: the next message number cannot be told.
        """
        root, spool = str(settings.folder), settings.spool
        self._pool = pool
        pool.start()
        inThread, fromThread = pool.callInThread, clock.callFromThread
        self.commits = Commits(disk, spool.sync, inThread, fromThread, clock.seconds, clock.callLater)
        self.spool = Spool(disk, root, self.commits)
        places = _places(settings)
        unread: dict[str, OSError] = {}
        highest = max(self.spool.highest, places.sweep(disk, unread) if places else 0)
        for path, error in unread.items():
            self.commits.trouble.tell(_log, path, "left out at the start", error)
        self.serial = Serial(disk, root, highest, self.commits.trouble, list(unread))
        self.inbox = Inbox(disk, places, self.commits, self.serial.first, clock.seconds) if places else None
        self.senderLog = SenderLog(f"{root}/senderlog", clock)
        self.receiveLog = ReceiveLog(f"{root}/receivelog", clock)
        self.srs = Srs(secrets(disk, root, os.urandom(30))) if settings.forwarding.srs else None
        self.hints = Hints(disk, root, clock, inThread, fromThread) if places else None
        folders = [f"{root}/{INCOMING}", *([places.fixed()] if places else [])]
        self.room = Room(disk, folders, spool.reserve_octets, spool.reserve_files, clock.seconds)

    async def release(self) -> None:
        """Write what is unwritten and let go."""
        await self.spool.release()
        await self.commits.close()
        if self.hints is not None:  # what was committed last may have filled a mailbox
            await self.hints.release()
        self.serial.release()
        self._pool.stop()
        self.flush()

    def flush(self) -> None:
        """Write what the logs hold back."""
        self.senderLog.flush()
        self.receiveLog.flush()


def boxFolders(settings: Settings) -> Callable[[Local], str] | None:
    """
    What gives the folder of a mailbox; L{None} where there are none.

    @raise ValueError: mailboxes cannot lie where they are configured.
    """
    places = _places(settings)
    return None if places is None else lambda box: places.folders(box)[-1]


def _places(settings: Settings) -> Places | None:
    return Places(str(settings.folder), str(settings.place)) if settings.place else None
