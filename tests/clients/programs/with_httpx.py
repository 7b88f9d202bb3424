"""Fetches a URL with httpx over HTTP/2 and prints the answer."""
import sys

import httpx

with httpx.Client(http2=True, timeout=20) as client:
    answer = client.get(sys.argv[1])
    print(answer.http_version, answer.status_code)
    print(answer.text)
