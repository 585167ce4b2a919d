"""A small process between the proxy and vLLM that leaves nothing behind.

vLLM is several processes, and its engine core does not notice when its parent dies: it would keep its memory for ever.
The keeper adopts every descendant (it is their "subreaper") and ends them all when

1. the proxy asks for it (SIGTERM),
2. the proxy is gone, however it died, which the keeper sees within a second as another parent,
3. the server process ended, whatever the rest of vLLM does.

Ending means: SIGTERM to the server, a grace period, SIGTERM to its group, SIGKILL to what is left. If the keeper itself
is killed, the kernel sends the server SIGTERM, and vLLM ends its own children.

Standard library only, single-threaded, run as a file: `python -I -S keeper.py PARENT GRACE_S COMMAND…`. Its first line
of output is `PID_LINE` and the number of the server's process group; `ENDED_LINE` tells at once that the server ended
by itself. Exit status: the server's, 128+n if signal n ended it.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

PID_LINE = "keeper: engine process "
ENDED_LINE = "keeper: engine ended"
NOT_STARTED_STATUS = 127
_POLL_S = 1.0  # how soon the death of the parent is seen
_GROUP_GRACE_S = 3.0  # after the server has gone, for the rest
_KILL_GRACE_S = 5.0  # a process in the kernel's hands may take a moment to die
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


class _Engine:
    """The server process and everything it started."""

    def __init__(self, command: list[str]) -> None:
        self.status: int | None = None
        self.any_left = True
        self._leader = _start(command)
        print(f"{PID_LINE}{self._leader}", flush=True)

    def reap(self) -> None:
        """Collect the dead. Afterwards `status` tells of the server and `any_left` of all descendants."""
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._leader:
                    code = os.waitstatus_to_exitcode(ended[1])
                    self.status = code if code >= 0 else 128 - code
        except ChildProcessError:
            self.any_left = False

    def end(self, grace_s: float) -> None:
        """End everything. Returns when nothing is left, or what is left cannot be killed."""
        if self.status is None:
            _signal(os.kill, self._leader, signal.SIGTERM)
            self._wait(grace_s, lambda: self.status is not None)
        if self.status is not None and self.any_left:
            _signal(os.killpg, self._leader, signal.SIGTERM)
            self._wait(_GROUP_GRACE_S, lambda: not self.any_left)
        deadline = time.monotonic() + _KILL_GRACE_S
        while self.any_left and time.monotonic() < deadline:
            _signal(os.killpg, self._leader, signal.SIGKILL)
            for pid in _children():  # those that left the group; their own children come to us when they die
                _signal(os.kill, pid, signal.SIGKILL)
            self._wait(0.2, lambda: not self.any_left)

    def _wait(self, seconds: float, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        self.reap()
        while not done() and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, min(left, 0.1))
            self.reap()


def _start(command: list[str]) -> int:
    keeper = os.getpid()
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # the child does the same; whoever is first
            os.setpgid(pid, pid)
        return pid
    try:
        os.setpgid(0, 0)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if os.getppid() == keeper:
            os.execvp(command[0], command)  # noqa: S606 - a list, no shell
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", flush=True)
    os._exit(NOT_STARTED_STATUS)


def _children() -> list[int]:
    # Only the main thread exists, so its children are all of ours.
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split()]
    except OSError:
        return []


def _signal(send: Callable[[int, int], None], target: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(target, number)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl failed")


def main(arguments: list[str]) -> int:
    """Run the command until it ends or must end; return its status."""
    parent, grace_s, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    engine = _Engine(command)
    while True:
        received = signal.sigtimedwait(_WATCHED, _POLL_S)
        engine.reap()
        asked = received is not None and received.si_signo != signal.SIGCHLD
        if asked or engine.status is not None or os.getppid() != parent:
            break
    if engine.status is not None:
        with contextlib.suppress(OSError):  # nobody reads if the proxy is gone too
            print(ENDED_LINE, flush=True)
    engine.end(grace_s)
    return engine.status if engine.status is not None else NOT_STARTED_STATUS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
