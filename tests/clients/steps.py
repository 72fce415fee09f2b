"""What steps.mjs says, for clients in Python."""

import asyncio
import json
import logging
import sys
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)


def leaf(error):
    return leaf(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def step(told, name, run):
    try:
        told[name] = {"ok": await run()}
    except Exception as error:
        told[name] = {"error": str(leaf(error))[:300]}


async def drive(told, revision, list_tools, call_tool):
    async def listed():
        tools = await list_tools()
        return [tool.name for tool in getattr(tools, "tools", tools)]

    def called(name, arguments):
        async def call():
            result = await call_tool(name, arguments)
            said = result.content[0].text
            if getattr(result, "isError", None) or getattr(result, "is_error", None):
                raise RuntimeError(said)
            return said

        return call

    told["connect"] = {"ok": True}
    told["revision"] = revision
    await step(told, "list", listed)
    await step(told, "call", called("echo", {"message": "hello"}))
    await step(told, "wider", called("create_invoice", {"amount": 5}))
    await step(told, "never", called("delete_customer", {"id": "1"}))


def run(main):
    told = {}
    try:
        asyncio.run(asyncio.wait_for(main(told), 120))
    except BaseException as error:
        if "never" not in told:
            told["connect" if "connect" not in told else "error"] = {"error": f"{type(leaf(error)).__name__}: {leaf(error)}"[:300]}
    print("\n" + json.dumps(told))
    sys.stdout.flush()
