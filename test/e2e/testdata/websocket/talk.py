"""Talks with one library: python3 talk.py LIBRARY (URL DENIED)..."""
import asyncio
import sys

library, *urls = sys.argv[1:]
big, noise = "large message " * 400_000, bytes((i * i >> 3) & 255 for i in range(70_000))


async def by_websockets(url, denied):
    import websockets

    async with websockets.connect(url, max_size=None) as ws:
        await ws.send("grüße")
        print("text", await ws.recv() == "grüße")
        await ws.send(noise)
        print("binary", await ws.recv() == noise)
        await ws.send(big)
        print("large", await ws.recv() == big)
        await ws.send(iter(["in ", "three ", "frames"]))
        print("fragments", await ws.recv())
        print("deflate", any(e.name == "permessage-deflate" for e in getattr(ws, "extensions", None) or ws.protocol.extensions))
        await (await ws.ping("mine"))
        print("ping")
        await ws.send("ping")
        print("server's ping", await ws.recv())
        await ws.send("close")
        try:
            await ws.recv()
        except websockets.ConnectionClosed as e:
            print("close", e.rcvd.code, e.rcvd.reason)
    try:
        await websockets.connect(denied)
    except Exception as e:  # its class has changed its name
        print("denied", getattr(e, "status_code", None) or e.response.status_code)


async def by_aiohttp(url, denied):
    import aiohttp

    async with aiohttp.ClientSession(trust_env=True) as session:
        async with session.ws_connect(url, compress=15, max_msg_size=0) as ws:
            await ws.send_str("grüße")
            print("text", await ws.receive_str() == "grüße")
            await ws.send_bytes(noise)
            print("binary", await ws.receive_bytes() == noise)
            await ws.send_str(big)
            print("large", await ws.receive_str() == big)
            print("deflate", ws.compress == 15)
            await ws.send_str("ping")
            print("server's ping", await ws.receive_str())
            await ws.send_str("close")
            m = await ws.receive()
            print("close", m.data, m.extra)
        try:
            await session.ws_connect(denied)
        except aiohttp.WSServerHandshakeError as e:
            print("denied", e.status)


async def by_websocket(url, denied):  # the library websocket-client
    import websocket

    ws = websocket.create_connection(url)
    ws.send("grüße")
    print("text", ws.recv() == "grüße")
    ws.send_binary(noise)
    print("binary", ws.recv() == noise)
    ws.send(big)
    print("large", ws.recv() == big)
    ws.ping("mine")
    print("ping", ws.recv_data(True)[1].decode())
    ws.send("ping")
    print("server's ping", ws.recv())
    ws.send("close")
    code = ws.recv_data(True)[1]
    print("close", int.from_bytes(code[:2], "big"), code[2:].decode())
    ws.close()
    try:
        websocket.create_connection(denied)
    except websocket.WebSocketBadStatusException as e:
        print("denied", e.status_code)


for i in range(0, len(urls), 2):
    asyncio.run(globals()["by_" + library](*urls[i : i + 2]))
