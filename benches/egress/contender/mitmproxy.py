"""mitmproxy with the proxy's job: grant one host with path prefixes and its subdomains, strip, inject."""

import os

from mitmproxy import http

HOST = "bench.localhost"
PREFIXES = ("/small", "/bytes", "/sink", "/events", "/injected")
CREDENTIAL = "Bearer " + os.environ["BENCH_TOKEN"]


def server_connect(data):
    # Every name of the benchmark is on this machine.
    data.server.address = ("127.0.0.1", data.server.address[1])


def requestheaders(flow):
    request = flow.request
    host, path = request.pretty_host, request.path.split("?", 1)[0]
    named = host == HOST
    if named:
        granted = any(path == prefix or path.startswith(prefix + "/") for prefix in PREFIXES)
    else:
        granted = host.endswith("." + HOST)
    if not granted:
        request.stream = False
        flow.response = http.Response.make(403)
        return
    request.headers.pop("authorization", None)
    if named:
        request.headers["authorization"] = CREDENTIAL
