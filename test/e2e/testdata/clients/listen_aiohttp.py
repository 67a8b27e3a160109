"""listen.py with aiohttp, reading as it comes."""
import asyncio
import sys

import aiohttp


async def read(url, confirm):
    async with aiohttp.ClientSession(trust_env=True) as session:
        async with session.get(url) as answer:
            async for line in answer.content:
                if line.startswith(b"data:"):
                    print(line.decode().strip(), flush=True)
                    await (await session.post(confirm)).read()


asyncio.run(read(*sys.argv[1:]))
