"""Prints the terminal's size, and again whenever it is told that it changed."""
import os
import signal


def show(*_):
    size = os.get_terminal_size(0)
    print("size", size.lines, size.columns, flush=True)


signal.signal(signal.SIGWINCH, show)
show()
while True:
    signal.pause()
