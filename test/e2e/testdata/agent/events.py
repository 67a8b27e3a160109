"""Reads server-sent events and confirms each to the origin before it reads on:
the origin sends the next one only then."""
import http.client
import sys

url, confirm = sys.argv[1:]
stream = http.client.HTTPConnection("127.0.0.1", 18080, timeout=30)
stream.request("GET", url)
answer = stream.getresponse()
print(answer.status, answer.getheader("Content-Type"))
while line := answer.readline():
    if line.startswith(b"data:"):
        print(line.decode().strip())
        back = http.client.HTTPConnection("127.0.0.1", 18080, timeout=30)
        back.request("POST", confirm)
        back.getresponse().read()
