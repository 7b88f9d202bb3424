"""Fetches a URL with aiohttp, which reads the proxy's variables only when it is told to, and prints the answer."""
import asyncio
import sys

import aiohttp


async def main():
    async with aiohttp.ClientSession(trust_env=True) as session, session.get(sys.argv[1]) as answer:
        print(answer.status)
        print(await answer.text())


asyncio.run(main())
