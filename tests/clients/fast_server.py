"""An MCP server without auth on FastMCP: all revisions, with sessions in the older ones. PORT: where to listen."""

import os
from dataclasses import dataclass

import mcp_types
from fastmcp import Context, FastMCP

mcp = FastMCP("fastmcp")


@dataclass
class Sure:
    sure: bool


@mcp.tool
def echo(message: str) -> str:
    return message


@mcp.tool
def add(a: float, b: float) -> float:
    return a + b


@mcp.tool
def create_invoice(amount: int) -> str:
    return f"invoice over {amount}"


@mcp.tool
def delete_customer(id: str) -> str:
    return f"customer {id} is gone"


QUESTION = mcp_types.ElicitRequest(
    params=mcp_types.ElicitRequestFormParams(
        message="Sure?", requested_schema={"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"]}
    )
)


@mcp.tool
async def confirm(ctx: Context):
    if ctx._is_modern_protocol():
        if not ctx.input_responses:
            return mcp_types.InputRequiredResult(input_requests={"sure": QUESTION}, request_state="asked")
        return f"{ctx.input_responses['sure'].action}, {ctx.request_state}"
    answer = await ctx.elicit("Sure?", Sure)
    return f"{answer.action}, asked"


mcp.run(transport="http", host="127.0.0.1", port=int(os.environ["PORT"]), path="/mcp", show_banner=False)
