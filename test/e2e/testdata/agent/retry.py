"""retry.py WAY HOST:PORT FIRST SECOND: OpenSSL's client, made to ask for FIRST in its
ClientHello and for SECOND in the one after a HelloRetryRequest. WAY is direct, http or
socks. Says whose certificate it got, and how many times it was asked again."""
import ctypes
import socket
import sys

way, to, first, second = sys.argv[1:]
host, port = to.rsplit(":", 1)
if way == "direct":
    conn = socket.create_connection((host, int(port)), 20)
else:
    conn = socket.create_connection(("127.0.0.1", 18080), 20)
    if way == "http":
        conn.sendall(f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += conn.recv(1)
    else:
        conn.sendall(b"\5\1\0")
        conn.recv(2)
        conn.sendall(b"\5\1\0\3" + bytes([len(host)]) + host.encode() + int(port).to_bytes(2, "big"))
        conn.recv(10, socket.MSG_WAITALL)
conn.setblocking(True)

ssl, crypto, ptr = ctypes.CDLL("libssl.so.3"), ctypes.CDLL("libcrypto.so.3"), ctypes.c_void_p
for f in ssl.TLS_client_method, ssl.SSL_CTX_new, ssl.SSL_new, ssl.SSL_get1_peer_certificate, crypto.X509_get_subject_name:
    f.restype = ptr
crypto.X509_NAME_oneline.restype = ctypes.c_char_p
SET_NAME, SET_GROUPS, SET_WATCH = 55, 92, 15
retries = 0


def watch(write, version, kind, message, size, session, arg):
    global retries
    if not write and kind == 22 and size > 38 and message[0] == 2 and bytes(message[6:10]) == b"\xcf\x21\xad\x74":
        retries += 1
        ssl.SSL_ctrl(ptr(session), SET_NAME, 0, second.encode())


callback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_ubyte), ctypes.c_size_t, ptr, ptr)(watch)
context = ptr(ssl.SSL_CTX_new(ptr(ssl.TLS_client_method())))
ssl.SSL_CTX_ctrl(context, SET_GROUPS, 0, b"X25519:P-384")
ssl.SSL_CTX_callback_ctrl(context, SET_WATCH, callback)
session = ptr(ssl.SSL_new(context))
ssl.SSL_ctrl(session, SET_NAME, 0, first.encode())
ssl.SSL_set_fd(session, conn.fileno())
got = "nothing"
if ssl.SSL_connect(session) == 1:
    name = crypto.X509_get_subject_name(ptr(ssl.SSL_get1_peer_certificate(session)))
    got = crypto.X509_NAME_oneline(ptr(name), None, 0).decode()
print(way, got, retries)
