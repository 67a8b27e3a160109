"""An echo by the websockets library: server, or clients as its input asks for."""

import asyncio
import json
import sys

import websockets
from websockets.extensions import permessage_deflate as deflate

MOST = 1 << 20  # bytes of a message


async def echo(ws):
    try:
        async for message in ws:
            await ws.send(message)
    except websockets.ConnectionClosed:
        pass


def options(offer):
    if offer is None:
        return {"compression": None}
    return {"compression": None, "extensions": [deflate.ClientPerMessageDeflateFactory(**offer)]}


async def talk(ws, messages):
    """Sends messages of several sizes and kinds and has them come back."""
    for i, size in enumerate(messages):
        text = ("message %d " % i * (size // 8 + 1))[:size]
        for message in text, text.encode():
            await ws.send(message)
            if await ws.recv() != message:
                raise ValueError("message %d came back changed" % i)


async def client(task):
    async with websockets.connect(
        "ws://localhost/", host="127.0.0.1", port=task["port"], ping_interval=None, max_size=MOST, **options(task.get("offer"))
    ) as ws:
        if "messages" in task:
            await talk(ws, task["messages"])
            return "; ".join(type(e).__name__ for e in ws.extensions)
        await echo(ws)
        return "ended"


async def main():
    loop = asyncio.get_running_loop()
    if sys.argv[1] == "server":
        factory = deflate.ServerPerMessageDeflateFactory(compress_settings={"memLevel": 5})
        async with websockets.serve(
            echo, "127.0.0.1", 0, ping_interval=None, max_size=MOST, compression=None, extensions=[factory]
        ) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            await loop.run_in_executor(None, sys.stdin.read)
        return
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            result = await client(json.loads(line))
        except Exception as err:  # told to the test
            result = "%s: %s" % (type(err).__name__, err)
        print(result, flush=True)


asyncio.run(main())
