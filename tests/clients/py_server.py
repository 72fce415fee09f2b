"""An MCP server without auth on the Python SDK v2: all revisions, with sessions in the older ones. PORT: where to listen."""

import os
from typing import Annotated

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel

mcp = MCPServer("python")


class Sure(BaseModel):
    sure: bool


@mcp.tool()
def echo(message: str) -> str:
    return message


@mcp.tool()
def add(a: float, b: float) -> float:
    return a + b


@mcp.tool()
def create_invoice(amount: int) -> str:
    return f"invoice over {amount}"


@mcp.tool()
def delete_customer(id: str) -> str:
    return f"customer {id} is gone"


def ask() -> Elicit[Sure]:
    return Elicit("Sure?", Sure)


@mcp.tool()
def confirm(sure: Annotated[Sure, Resolve(ask)]) -> str:
    return "accept, asked" if sure.sure else "no"


mcp.run(transport="streamable-http", host="127.0.0.1", port=int(os.environ["PORT"]))
