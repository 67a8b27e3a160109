"""Prints the terminal's size, and again whenever it is told that it changed."""
import os
import signal


def show(*_):
    size = os.get_terminal_size(0)
    os.write(1, b"size %d %d\n" % (size.lines, size.columns))  # whole, and at any moment


signal.signal(signal.SIGWINCH, show)
show()
while True:
    signal.pause()
