"""Reads server-sent events with httpx and confirms each to the origin before it reads
on: python3 listen.py URL CONFIRM. The origin sends the next one only then."""
import sys

import httpx

url, confirm = sys.argv[1:]
with httpx.stream("GET", url) as answer:
    for line in answer.iter_lines():
        if line.startswith("data:"):
            print(line.strip(), flush=True)
            httpx.post(confirm)
