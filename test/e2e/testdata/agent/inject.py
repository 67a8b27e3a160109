"""Tries to type a command into every terminal it can open (TIOCSTI)."""
import fcntl
import os
import sys
import termios

text = "echo typed-by-the-agent\n"
for name in ("stdin", "/dev/tty", "/dev/console", "/dev/pts/0", "/dev/pts/1", "/dev/pts/2", "/proc/1/fd/0"):
    try:
        fd = 0 if name == "stdin" else os.open(name, os.O_RDWR)
        for c in text:
            fcntl.ioctl(fd, termios.TIOCSTI, c.encode())
        print(name, "accepted", flush=True)
    except OSError as e:
        print(name, e.strerror, flush=True)
sys.exit(0)
