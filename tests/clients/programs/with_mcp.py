"""Proposes a route to the supervise server at a URL, and prints the tools and what it was told."""

import asyncio
import sys

from mcp import Client


async def propose(url):
    async with Client(url) as client:
        tools = await client.list_tools()
        print(*sorted(tool.name for tool in tools.tools))
        told = await client.call_tool("propose_route", {"host": "docs.example", "reason": "to test"})
        print(told.is_error, told.content[0].text)


asyncio.run(propose(sys.argv[1]))
