"""Calls the origin's one gRPC method, `Echo/Say`, and prints the answer."""
import sys

import grpc

with grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials()) as channel:
    print(channel.unary_unary("/demo.Echo/Say")(b"hello", timeout=20).decode())
