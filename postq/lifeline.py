"""A process's tie to the one that started it: when that is gone, it goes at once."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import wait

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Ask the kernel (Linux) to kill this process when the thread that started it ends.

    The kernel watches the *thread* that forked, so a supervisor starts runners, and a runner its ranks, from
    a thread that lives as long as its process. Elsewhere the end of a pipe, which every system reports, has
    to do.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before we could ask
        end_group()


def leave_with_parent() -> None:
    """In a process that multiprocessing spawned: leave when the parent does, however it ends."""
    threading.Thread(target=_watch_parent, name="watch-parent", daemon=True).start()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def end_group() -> None:
    """Kill this process and everything it started; a runner leads a process group of its own."""
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
