"""Sends standard input to the proxy as it is and prints what comes back."""
import socket
import sys

with socket.create_connection(("127.0.0.1", 18080), timeout=30) as s:
    s.sendall(sys.stdin.buffer.read())
    s.shutdown(socket.SHUT_WR)
    while chunk := s.recv(65536):
        sys.stdout.buffer.write(chunk)
        sys.stdout.flush()
