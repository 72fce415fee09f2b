"""What steps.mjs says, for clients in Python."""

import asyncio
import json
import logging
import os
import sys
import urllib.request
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

TOOLS = json.loads(os.environ["TOOLS"])
CONTROL = os.environ.get("CONTROL")
KNOWN = os.environ.get("KNOWN", "dynamic")
CLIENT_ID = os.environ.get("CLIENT_ID")


def leaf(error):
    return leaf(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def filled(schema):
    """What a person fills in: yes, and the least that must be."""
    properties = schema["properties"]
    plain = {"boolean": True, "string": "something"}
    return {
        name: properties[name].get("enum", [plain.get(properties[name].get("type"), properties[name].get("minimum", 1))])[0]
        for name in schema.get("required", list(properties))
    }


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
            said = getattr(result.content[0], "text", f"a block of type {result.content[0].type}") if result.content else "nothing"
            if getattr(result, "isError", None) or getattr(result, "is_error", None):
                raise RuntimeError(said)
            return said

        return call

    told["connect"] = {"ok": True}
    told["revision"] = revision
    await step(told, "list", listed)
    for name in ["call", "confirm", "wider", "never"]:
        if name in TOOLS:
            await step(told, name, called(*TOOLS[name]))
    if CONTROL:
        for when, name in [("expired", "later"), ("revoked", "after")]:
            await asyncio.to_thread(lambda: urllib.request.urlopen(f"{CONTROL}/{when}").read())
            await step(told, name, called(*TOOLS["call"]))
            # Whoever is told that it did not work tries once more.
            if name == "after" and "error" in told[name]:
                await step(told, name, called(*TOOLS["call"]))


def run(main):
    told = {}
    try:
        asyncio.run(asyncio.wait_for(main(told), 140))
    except BaseException as error:
        if "never" not in told:
            told["connect" if "connect" not in told else "error"] = {"error": f"{type(leaf(error)).__name__}: {leaf(error)}"[:300]}
    print("\n" + json.dumps(told))
    sys.stdout.flush()
