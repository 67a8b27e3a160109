"""A GET over TLS, one line a way: python3 get_tls.py WAY URL."""
import http.client
import sys
import urllib.parse

way, url = sys.argv[1:]
u = urllib.parse.urlsplit(url)
if way == "ssl":
    c = http.client.HTTPSConnection("127.0.0.1", 18080)
    c.set_tunnel(u.hostname, 443)
    c.request("GET", u.path)
    print(c.getresponse().status)
elif way == "urllib":
    import urllib.request
    print(urllib.request.urlopen(url).status)
elif way == "requests":
    import requests
    print(requests.get(url).status_code)
elif way == "httpx":
    import httpx
    print(httpx.get(url).status_code)
