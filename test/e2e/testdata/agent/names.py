"""Resolves names and prints the address of each, or what the resolver said."""
import socket
import sys

for name in sys.argv[1:]:
    try:
        print(name, socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
    except socket.gaierror as e:
        print(name, "NXDOMAIN" if e.errno == socket.EAI_NONAME else e)
