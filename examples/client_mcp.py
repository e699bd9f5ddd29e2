"""Asks a running app as an MCP client does: python examples/client_mcp.py ADDRESS IMAGE [IMAGE...]

An agent needs only the address of the server: ADDRESS/gradio_api/mcp/ (streamable HTTP).
"""

import asyncio
import base64
import mimetypes
import sys
from pathlib import Path

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def ask(address: str, images: list[str]) -> None:
    async with (
        streamablehttp_client(f"{address}/gradio_api/mcp/") as (receive, send, _),
        ClientSession(receive, send) as session,
    ):
        await session.initialize()
        for path in images:
            kind = mimetypes.guess_type(path)[0] or "image/jpeg"
            data = f"data:{kind};base64,{base64.b64encode(Path(path).read_bytes()).decode()}"
            result = await session.call_tool("predict", {"image": data})
            print(result.content[0].text)


if __name__ == "__main__":
    asyncio.run(ask(sys.argv[1], sys.argv[2:]))
