"""Sends a message over a WebSocket and prints what comes back; a refusal is printed as the server worded it."""
import sys

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

try:
    with connect(sys.argv[1]) as socket:
        socket.send("hello")
        print(socket.recv(timeout=20))
except InvalidStatus as refused:
    print(refused.response.status_code)
    print(refused.response.body.decode())
