"""The FastMCP client with its own login: it opens $BROWSER and listens for the callback. RESOURCE: what to connect to."""

import os

from fastmcp import Client

import steps


async def main(told):
    async with Client(os.environ["RESOURCE"], auth="oauth") as client:
        await steps.drive(told, None, client.list_tools, client.call_tool)


steps.run(main)
