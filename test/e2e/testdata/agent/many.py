"""Opens N connections to the proxy, asks on all of them once all are open, and
counts the answers by status. With a third argument, through tunnels to it."""
import asyncio
import collections
import resource
import sys

n, url, tunnel = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
host = url.split("/")[2]


async def answer(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1])


async def ask(i, opened, all_open):
    reader, writer = await asyncio.open_connection("127.0.0.1", 18080)
    target = f"{url}{i}"
    if tunnel:
        writer.write(f"CONNECT {tunnel[0]} HTTP/1.1\r\nHost: {tunnel[0]}\r\n\r\n".encode())
        if (status := await answer(reader)) != 200:
            return status
        target = f"/{i}"
    opened.append(i)
    if len(opened) == n:
        all_open.set()
    await all_open.wait()
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    status = await answer(reader)
    await reader.read()
    writer.close()
    return status


async def main():
    all_open = asyncio.Event()
    opened = []
    counted = collections.Counter(await asyncio.gather(*(ask(i, opened, all_open) for i in range(n))))
    print(*sorted(counted.items()))


asyncio.run(asyncio.wait_for(main(), 30))
