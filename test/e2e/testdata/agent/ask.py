"""Asks the proxy for each target given, one connection each, and prints what it
answered: status, whether denied or aborted, the reason, and the target as given.
A target is an absolute URL, or CONNECT:host:port."""
import http.client
import json
import sys


def ask(target):
    c = http.client.HTTPConnection("127.0.0.1", 18080, timeout=30)
    c.connect()
    method, url = ("CONNECT", target[8:]) if target.startswith("CONNECT:") else ("GET", target)
    host = url if method == "CONNECT" else url.split("/")[2]
    c.sock.sendall(f"{method} {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    r = http.client.HTTPResponse(c.sock, method="GET")
    r.begin()
    if r.status == 200 and method == "CONNECT":
        return 200, "tunnel", ""
    body = r.read()
    try:
        said = json.loads(body)
    except ValueError:
        return r.status, "not JSON", body[:80]
    kind = "denied" if said.get("denied") else "aborted" if said.get("aborted") else "answered"
    return r.status, kind, said.get("reason", "-")


for t in sys.argv[1:]:
    print(*ask(t), t)
