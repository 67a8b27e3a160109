"""Prints which TCP ports accept on each address given. ADDR:PORT tries one port,
ADDR all of them."""
import socket
import sys


def accepts(address, port):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        s.settimeout(2)
        try:
            s.connect((address, port))
            return s.getsockname() != s.getpeername()  # a socket can meet itself
        except OSError:
            return False


for arg in sys.argv[1:]:
    address, _, port = arg.partition("/")
    ports = [int(port)] if port else range(1, 65536)
    print(arg, *[p for p in ports if accepts(address, p)])
