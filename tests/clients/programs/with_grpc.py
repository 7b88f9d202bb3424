"""A gRPC server, and a client that reaches it through the proxy; one line of JSON for each call.

CERTIFICATE and KEY are the server's; it is asked as HOST.
"""

import json
import os
import queue
import sys
import threading
from concurrent import futures

import grpc

certificate, key, host = sys.argv[1:]
cancelled = threading.Event()


def unary(request, context):
    fields = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-authorized", str("authorization" in fields).lower()), ("x-bin", b"\x00t")))
    return request


def join(requests, context):
    return b"".join(requests)


def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()


def echo(requests, context):
    # The second half of a call begins before its first half has ended.
    for request in requests:
        yield request


def fail(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: \u00e9")


def wait(request, context):
    context.add_callback(cancelled.set)
    yield b"begun"
    cancelled.wait()


class Service(grpc.GenericRpcHandler):
    handlers = {
        "unary": grpc.unary_unary_rpc_method_handler(unary),
        "join": grpc.stream_unary_rpc_method_handler(join),
        "count": grpc.unary_stream_rpc_method_handler(count),
        "echo": grpc.stream_stream_rpc_method_handler(echo),
        "fail": grpc.unary_unary_rpc_method_handler(fail),
        "wait": grpc.unary_stream_rpc_method_handler(wait),
    }

    def service(self, details):
        return self.handlers.get(details.method.rsplit("/", 1)[1])


def told(call, value):
    print(json.dumps({"call": call, "value": value}), flush=True)


def read(path):
    with open(path, "rb") as file:
        return file.read()


server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Service()])
port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(read(key), read(certificate))]))
server.start()

trust = grpc.ssl_channel_credentials(read(os.environ["SSL_CERT_FILE"]))
with grpc.secure_channel(f"{host}:{port}", trust) as channel:
    big = bytes(range(256)) * 4096
    for coding in grpc.Compression:
        answer, call = channel.unary_unary("/test.Service/unary").with_call(big, compression=coding)
        trailers = dict(call.trailing_metadata())
        told(f"unary, {coding.name}", [answer == big, trailers["x-authorized"], trailers["x-bin"] == b"\x00t"])
    told("join", channel.stream_unary("/test.Service/join")(iter([b"a", b"", b"b" * 100_000])).__len__())
    told("count", sum(1 for _ in channel.unary_stream("/test.Service/count")(b"1000")))

    requests = queue.Queue()
    answers = channel.stream_stream("/test.Service/echo")(iter(requests.get, None))
    heard = []
    for message in [b"one", b"", b"three ends in g", b"x" * 100_000]:
        requests.put(message)
        heard.append(next(answers) == message)
    requests.put(None)
    told("echo", heard + [next(answers, None) is None])

    try:
        channel.unary_unary("/test.Service/fail")(b"")
    except grpc.RpcError as error:
        told("fail", [error.code().name, error.details()])
    try:
        channel.unary_unary("/test.Service/nowhere")(b"")
    except grpc.RpcError as error:
        told("nowhere", error.code().name)
    try:
        list(channel.unary_stream("/test.Service/wait")(b"", timeout=1))
    except grpc.RpcError as error:
        told("deadline", [error.code().name, cancelled.wait(30)])

    cancelled.clear()
    waiting = channel.unary_stream("/test.Service/wait")(b"")
    next(waiting)
    waiting.cancel()
    told("cancel", cancelled.wait(30))
server.stop(0)
