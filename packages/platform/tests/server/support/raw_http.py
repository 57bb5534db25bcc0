"""Requests as bytes, and applications without a framework, for tests of the server alone."""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from starlette.types import Receive, Scope, Send

_status_lines = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n")

GET = b"GET / HTTP/1.1\r\nhost: x\r\n"
REQUEST = GET + b"\r\n"
LAST_REQUEST = GET + b"connection: close\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


async def respond(send: Send, content: bytes, status: int = 200) -> None:
    """Answer with a body of known length."""
    length = (b"content-length", b"%d" % len(content))
    await send({"type": "http.response.start", "status": status, "headers": [length]})
    await send({"type": "http.response.body", "body": content})


async def ok(_: Scope, __: Receive, send: Send) -> None:
    """Answer without looking at the request."""
    await respond(send, b"ok")


async def read_body(receive: Receive) -> bytes | None:
    """Read the body; `None` when the client leaves before its end."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        part: bytes = message.get("body", b"")
        body += part
        if not message.get("more_body", False):
            return body


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what arrived: method, path, header fields and body."""
    body = await read_body(receive)
    if body is None:
        return
    told = {
        "method": scope["method"],
        "path": scope["path"],
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": body.decode("latin-1"),
    }
    await respond(send, json.dumps(told).encode())


class Recorder:
    """An application that notes the paths it is asked for, each time taking `seconds`."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.paths: list[str] = []
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        await asyncio.sleep(self.seconds)
        await respond(send, scope["path"].encode())


def statuses(answer: bytes) -> list[int]:
    """The statuses of the responses in an answer, in order."""
    return [int(status) for status in _status_lines.findall(answer)]


def last_json(answer: bytes) -> Any:
    """The body of the last response."""
    return json.loads(answer.rpartition(b"\r\n\r\n")[2])


def problem(answer: bytes) -> dict[str, Any]:
    """The problem that the last response is, whose headers are those of every answer."""
    *_, last = _status_lines.finditer(answer)
    head, _, content = answer[last.start() :].partition(b"\r\n\r\n")
    status, headers = split_head(head)
    assert headers["content-type"] == "application/problem+json"
    assert int(headers["content-length"]) == len(content)
    assert headers["connection"] == "close"
    assert headers["x-content-type-options"] == "nosniff"
    assert "x-response-time" in headers
    told: dict[str, Any] = json.loads(content)
    assert UUID(told["request_id"]) == UUID(headers["x-request-id"])
    assert status == told["status"]
    return told


def split_head(head: bytes) -> tuple[int, Mapping[str, str]]:
    """Status and header fields of a response's head."""
    line, *lines = head.decode("ascii").split("\r\n")
    return int(line.split()[1]), dict(each.split(": ", 1) for each in lines)
