"""Run a command and tell what the whole process took: `python -IS measured.py OUT.json LIMIT_S COMMAND...`.

Needs only the standard library and imports next to nothing: a process that is started counts what its parent held in
memory as its own peak, so the parent must be small. Times and memory are those that /usr/bin/time tells.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time


def main(out: str, limit_s: str, *command: str) -> int:
    """Write wall time, processor time and peak memory of a command and of what it starts; returns its exit code.

    Past the limit the command and all that it started are ended, and `timed_out` says so.
    """
    timed_out = False
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
            os._exit(127)

    def stop(_number: int, _frame: object) -> None:
        nonlocal timed_out
        timed_out = True
        os.killpg(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, float(limit_s))
    _, status, usage = os.wait4(child, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    elapsed = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    told = {
        "wall_s": round(elapsed, 3),
        "processor_s": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_memory_mb": round(usage.ru_maxrss / 1024, 1),
        "exit_code": code,
        "timed_out": timed_out,
    }
    with open(out, "w", encoding="utf-8") as file:  # noqa: PTH123  (pathlib alone would double this process's memory)
        json.dump(told, file)
    return code if 0 <= code < 256 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
