"""Leaves processes behind in every way there is, each with the marker on its
command line, ignoring every signal it can."""
import os
import signal
import subprocess
import sys

marker = sys.argv[1]
for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
    signal.signal(s, signal.SIG_IGN)
sleep = ["python3", "-c", "import time; time.sleep(86400)", marker]
subprocess.Popen(sleep)
subprocess.Popen(sleep, start_new_session=True)
for _ in range(2):  # double fork, so that pid 1 inherits it
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            null = os.open("/dev/null", os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            os.execvp(sleep[0], sleep)
        os._exit(0)
    os.wait()
if len(sys.argv) > 2:
    print("ready", flush=True)
    signal.pause()
    while True:
        signal.pause()
