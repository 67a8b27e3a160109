"""Asks with one library for a URL and for what is refused, one line each:
python3 get.py LIBRARY URL..."""
import asyncio
import json
import os
import sys


def said(status, body):
    """The status, and the reason where the body says that firma refused."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = {}
    print(status, answer["reason"] if answer.get("denied") else "ok")


def by_aiohttp(urls):
    import aiohttp

    async def get():
        async with aiohttp.ClientSession(trust_env=True) as session:
            for url in urls:
                async with session.get(url) as r:
                    said(r.status, await r.read())

    asyncio.run(get())


def by_urllib3(urls):
    import urllib3

    for pool in urllib3.PoolManager(), urllib3.ProxyManager(os.environ["https_proxy"]):
        for url in urls:
            r = pool.request("GET", url)
            said(r.status, r.data)


def by_pycurl(urls):
    import io

    import pycurl

    for url in urls:
        body, c = io.BytesIO(), pycurl.Curl()
        c.setopt(c.URL, url)
        c.setopt(c.WRITEDATA, body)
        c.perform()
        said(c.getinfo(c.RESPONSE_CODE), body.getvalue())


def by_httpx(urls):
    import httpx

    async def get():
        async with httpx.AsyncClient() as client:
            for url in urls:
                r = await client.get(url)
                said(r.status_code, r.content)

    asyncio.run(get())


def by_httplib2(urls):
    import httplib2

    for url in urls:
        r, body = httplib2.Http().request(url)
        said(r.status, body)


globals()["by_" + sys.argv[1]](sys.argv[2:])
