"""The Python SDK v2: the same checks as in checks.mjs."""

import asyncio
import json
import logging
import os
import re
import sys

from mcp.client.auth import TokenStorage
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError

RESOURCE = os.environ["RESOURCE"]
CLIENT = os.environ["SDK_CLIENT"]
ISSUER = os.environ["ISSUER"]

# That a called tool is not on the list is what this is about.
logging.getLogger("client").setLevel(logging.ERROR)


class Memory(TokenStorage):
    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


# Every exchange in order; never a token.
exchanges = []


def check(right, claim):
    if not right:
        raise AssertionError(f"{claim}: {exchanges}")


def recorded(transport):
    """Below the auth flow, so that its own requests are seen too."""
    send = transport.handle_async_request

    async def handle(request):
        response = await send(request)
        exchanges.append((request.method, str(request.url), response.status_code, response.headers.get("www-authenticate")))
        return response

    transport.handle_async_request = handle


def discovery():
    method, url, status, challenge = exchanges[0]
    check((method, url, status) == ("POST", RESOURCE, 401), "the first request is answered 401")
    metadata = re.match(r'Bearer .*resource_metadata="([^"]+)"', challenge or "")
    check(metadata, "the challenge names the resource metadata")
    check(exchanges[1][:3] == ("GET", metadata[1], 200), "the metadata is fetched from where the challenge says")

    def at(wanted, start):
        return next((i for i, (method, url, status, _) in enumerate(exchanges) if (method, status) == (wanted, 200) and url.startswith(start)), -1)

    server, token, again = at("GET", f"{ISSUER}/.well-known/"), at("POST", f"{ISSUER}/token"), at("POST", RESOURCE)
    check(1 < server < token < again, "authorization server metadata, token, then the resource again")


async def refused(client, tool):
    try:
        return (await client.call_tool(tool, {"id": "1"})).is_error
    except MCPError:
        return True


async def main():
    auth = ClientCredentialsOAuthProvider(
        server_url=RESOURCE, storage=Memory(), client_id=CLIENT, client_secret=f"{CLIENT}-secret", scope="mcp:read", issuer=ISSUER
    )
    async with create_mcp_http_client(auth=auth) as http:
        recorded(http._transport)
        async with Client(streamable_http_client(RESOURCE, http_client=http)) as client:
            discovery()
            check(client.protocol_version == "2026-07-28", f"the revision is {client.protocol_version}")
            tools = sorted(tool.name for tool in (await client.list_tools()).tools)
            check(tools == ["add", "echo", "whoami"], f"the list shows exactly what may be called, not {tools}")
            answer = await client.call_tool("add", {"a": 2, "b": 40})
            check(answer.content[0].text == "42", "an allowed call goes through")
            who = json.loads((await client.call_tool("whoami", {})).content[0].text)
            check(who["authorization"] is False, "the client's token stays at the door")
            check(who["identity"].get("x-forwarded-client") == CLIENT, f"the server hears who calls, not {who}")
            check("x-forwarded-user" not in who["identity"], "a machine is not called a user")
            before = len(exchanges)
            answer = await client.call_tool("create_invoice", {"amount": 5})
            check(answer.content[0].text == "invoice over 5", "a wider token is fetched and the call repeated")
            _, _, status, challenge = exchanges[before]
            check(status == 403, "without the scope the call is answered 403")
            check(re.search(r'error="insufficient_scope".*scope="mcp:write"', challenge or ""), "and the challenge names the scope")
            check(await refused(client, "delete_customer"), "what no scope opens is refused")
            check(exchanges[-1][1:] == (RESOURCE, 403, None), "with 403, without a challenge, and once")


def root(error):
    return root(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


try:
    asyncio.run(asyncio.wait_for(main(), 60))
    print("PASS Python SDK v2")
except Exception as error:
    print(f"FAIL Python SDK v2: {type(root(error)).__name__}: {root(error)}")
    sys.exit(1)
