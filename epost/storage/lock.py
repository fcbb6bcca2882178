"""
One daemon for one work folder: the second is refused and told who has it (house 8).

The lock is flock(2) on the file C{lock}, which holds the process id for whoever reads it. The kernel lets go of it when
the process ends, however it ends; the file stays and says nothing by itself. It is taken when the service starts, after
C{twistd} went into the background, or the id in it would be the wrong one.
"""

import fcntl
import os
from contextlib import suppress


class FolderTaken(Exception):
    """
    Another living process has the folder.

    @ivar process: its id; 0 where it has not written it yet.
    """

    def __init__(self, folder: str, process: int) -> None:
        super().__init__(f"{folder} is in use by process {process or 'unknown'}; two daemons cannot share a folder")
        self.process = process


class FolderLock:
    """
    The lock, held from construction to L{release}.

    @param folder: the work folder; it stands already.
    @raise FolderTaken: another process has it.
    @raise OSError: the file cannot be made.
    """

    def __init__(self, folder: str) -> None:
        self._descriptor = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(self._descriptor, 20, 0).strip()
            os.close(self._descriptor)
            raise FolderTaken(folder, int(text) if text.isdigit() else 0) from None
        with suppress(OSError):  # a full disk: the lock is held, though nobody can read by whom
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Let go. The file stays: removing it would let two processes hold two files of one name."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1
