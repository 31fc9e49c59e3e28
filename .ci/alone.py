"""`python alone.py LOCK COMMAND…`: runs the command, alone among all that name this lock. Waits, and
says so, while another one runs.

The lock is the kernel's (flock), on a file that stays: it is let go when the last process that holds it has ended,
whoever was killed and however. `flock(1)` does the same and is missing on macOS.
"""

import fcntl
import os
import sys

path, *command = sys.argv[1:]
lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
try:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another make installs into .venv here: waiting until it is done ...", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
except KeyboardInterrupt:
    sys.exit(130)
os.set_inheritable(lock, True)  # what the command leaves running still works in there
os.execvp(command[0], command)
