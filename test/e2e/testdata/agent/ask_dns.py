"""Asks a name server, given by address and port, for a name, over UDP and TCP."""
import socket
import struct
import sys

address, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
question = b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0\0\1\0\1"
packet = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + question
for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.settimeout(2)
        try:
            s.connect((address, port))
            s.sendall(packet if kind == socket.SOCK_DGRAM else struct.pack(">H", len(packet)) + packet)
            print("answered", len(s.recv(4096)) > 0)
        except OSError as e:
            print("dead end")
