"""A client of the service: what a browser or another program would send."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import httpx

_BLOCK = 256 * 1024
WAIT = 20.0
"""Seconds that a question for a call's end waits before it is asked again."""


async def upload(client: httpx.AsyncClient, path: Path) -> dict[str, Any]:
    """Send a file, in pieces; return what was accepted."""
    response = await client.post("/reports", params={"name": path.name}, content=_pieces(path))
    return _answer(response, 202)


async def follow(client: httpx.AsyncClient, report_url: str) -> AsyncGenerator[dict[str, Any]]:
    """Yield each state of a report as the service sends it; the last is the final one."""
    async with client.stream("GET", f"{report_url}/events") as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any], status: int = 202) -> dict[str, Any]:
    """Send JSON; return what is answered. Any other status than the given one raises HTTPError."""
    return _answer(await client.post(path, json=body), status)


async def outcome(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send JSON and wait for the end of the call that it makes; return its state.

    What takes longer than a request may is asked for afterwards, where the service remembers it.
    """
    response = await client.post(path, params={"wait": WAIT}, json=body)
    if response.status_code == 202 and (url := response.json()["url"]):
        return await end_of(client, url)
    return _answer(response, 200)


async def end_of(client: httpx.AsyncClient, call_url: str) -> dict[str, Any]:
    """Wait until a call has ended; return its state."""
    while True:
        state = _answer(await client.get(call_url, params={"wait": WAIT}), 200)
        if state["status"] in ("succeeded", "failed", "cancelled", "expired"):
            return state


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, _BLOCK):
            yield piece


def _answer(response: httpx.Response, status: int) -> dict[str, Any]:
    if response.status_code != status:
        request = response.request
        raise httpx.HTTPStatusError(
            f"{request.method} {request.url.path}: {response.status_code} instead of {status}: {response.text[:500]}",
            request=request,
            response=response,
        )
    return response.json()
