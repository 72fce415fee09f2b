"""The FastMCP client with its own login: it opens $BROWSER and listens for the callback. RESOURCE: what to connect to."""

import os

from fastmcp import Client
from fastmcp.client.auth import OAuth

import steps


async def asked(_message, _response_type, params, _context):
    return steps.filled(getattr(params, "requestedSchema", None) or params.requested_schema)


async def main(told):
    auth = {
        "dynamic": lambda: "oauth",
        "document": lambda: OAuth(client_metadata_url=steps.CLIENT_ID),
        "configured": lambda: OAuth(client_id=steps.CLIENT_ID),
    }[steps.KNOWN]()
    async with Client(os.environ["RESOURCE"], auth=auth, elicitation_handler=asked) as client:
        await steps.drive(told, None, client.list_tools, client.call_tool)


steps.run(main)
