"""Becomes the device's process: takes its serial line as terminal, then runs MicroPython.

Run as a script by process.py with a small interpreter of its own, so that the supervisor, which has
threads, never runs code between fork and exec. Two effects are wanted:
- Ctrl-C on the line is a SIGINT for MicroPython; before MicroPython is there to take it, it is
  ignored, as a chip ignores its serial line while the ROM runs.
- When the supervisor dies, however it dies, its end of the line closes and the kernel hangs up this
  process: no orphans.
"""

import fcntl
import os
import signal
import sys
import termios

if __name__ == "__main__":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.execv(sys.argv[1], sys.argv[1:])
