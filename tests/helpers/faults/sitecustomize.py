"""Faults on demand, in every process of the installed command.

With this folder on PYTHONPATH, ``SVLS_FAULT=ACTION:EVENT:PART:COUNT`` does ACTION when
a process meets, for the COUNT-th time, an audit event EVENT whose path holds PART:
``crash`` ends that process as a segmentation fault does, ``kill`` ends the whole group
of processes as ``kill -9`` does, ``enospc`` is a full disk and ``eacces`` a forbidden
file from then on, ``wait`` marks the moment by making the file SVLS_MARK and then
sleeps for SVLS_WAIT_S seconds.
"""

import errno
import os
import signal
import sys
import time

_action, _event, _part, _count = os.environ.get("SVLS_FAULT", ":::1").split(":")
_left = int(_count)


def _fault(event: str, arguments: tuple[object, ...]) -> None:
    global _left
    if event != _event or not arguments or _part not in str(arguments[0]):
        return
    if event == "open" and ".zarr.tmp" in str(arguments[0]):
        flags = arguments[2]
        if not (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)):
            return
    _left -= 1
    if _left > 0 or (_left < 0 and _action not in ("enospc", "eacces")):
        return
    if _action == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif _action == "kill":
        os.killpg(0, signal.SIGKILL)
    elif _action == "enospc":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))
    elif _action == "eacces":
        raise PermissionError(
            errno.EACCES, os.strerror(errno.EACCES), str(arguments[0])
        )
    elif _action == "wait":
        mark = os.environ["SVLS_MARK"]
        os.close(os.open(mark, os.O_CREAT | os.O_WRONLY))
        time.sleep(float(os.environ.get("SVLS_WAIT_S", "60")))


if _action:
    sys.addaudithook(_fault)
