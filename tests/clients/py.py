"""The Python SDK, of whichever version is installed. RESOURCE: what to connect to; NODE: what runs the browser."""

import asyncio
import os
import subprocess
from urllib.parse import parse_qs

from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata

import steps

RESOURCE = os.environ["RESOURCE"]
REDIRECT = "http://127.0.0.1:8765/callback"

try:
    from mcp.client.client import Client
except ImportError:
    Client = None


class Memory(TokenStorage):
    tokens = None
    client = (
        OAuthClientInformationFull(client_id=steps.CLIENT_ID, redirect_uris=[REDIRECT], token_endpoint_auth_method="none")
        if steps.KNOWN == "configured"
        else None
    )

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


answer = {}


async def redirect(url):
    browser = await asyncio.create_subprocess_exec(os.environ["NODE"], "browser.mjs", url, "print", stdout=subprocess.PIPE)
    out, _ = await browser.communicate()
    answer.update({name: values[0] for name, values in parse_qs(out.decode().strip()).items()})


async def callback():
    if Client is None:
        return answer["code"], answer.get("state")
    from mcp.client.auth import AuthorizationCodeResult

    fields = getattr(AuthorizationCodeResult, "model_fields", None) or AuthorizationCodeResult.__annotations__
    return AuthorizationCodeResult(**{name: answer[name] for name in fields if name in answer})


auth = OAuthClientProvider(
    server_url=RESOURCE,
    client_metadata=OAuthClientMetadata(
        client_name=f"table py {1 if Client is None else 2}",
        redirect_uris=[REDIRECT],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    ),
    storage=Memory(),
    redirect_handler=redirect,
    callback_handler=callback,
    **({"client_metadata_url": steps.CLIENT_ID} if steps.KNOWN == "document" else {}),
)


async def asked(_context, params):
    from mcp.types import ElicitResult

    schema = getattr(params, "requestedSchema", None) or params.requested_schema
    return ElicitResult(action="accept", content=steps.filled(schema))


async def v2(told):
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    async with create_mcp_http_client(auth=auth) as http:
        async with Client(streamable_http_client(RESOURCE, http_client=http), elicitation_callback=asked) as client:
            await steps.drive(told, client.protocol_version, client.list_tools, client.call_tool)


async def v1(told):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async with streamablehttp_client(RESOURCE, auth=auth) as (read, write, _):
        async with ClientSession(read, write, elicitation_callback=asked) as session:
            version = (await session.initialize()).protocolVersion
            await steps.drive(told, version, session.list_tools, session.call_tool)


steps.run(v1 if Client is None else v2)
