"""Announces a body to the proxy, never sends it, and prints the answer."""
import socket
import sys

with socket.create_connection(("127.0.0.1", 18080), timeout=30) as s:
    s.sendall(b"POST http://plain.test/admin/x HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 10000000\r\n\r\n")
    print(s.recv(65536).decode().splitlines()[0])
