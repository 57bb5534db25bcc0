"""Answers requests with Sentry's SDK switched on, and prints what the SDK would have sent.

A program of its own, because the SDK replaces functions of Starlette and FastAPI for the rest of
the process. Its argument is the file to write to.
"""

import json
import sys
from pathlib import Path
from typing import Any

import sentry_sdk
from applications_under_test import KINDS, maker_of
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.testclient import TestClient
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport


class CapturingTransport(Transport):
    """Keeps what another transport sends over the network."""

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.items: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            if item.type in {"event", "transaction"}:
                self.items.append(json.loads(item.payload.get_bytes()))

    def taken(self) -> list[dict[str, Any]]:
        taken, self.items = self.items, []
        return taken


def routes() -> APIRouter:
    router = APIRouter(prefix="/orders")

    @router.get("/{number}/broken")
    async def broken(number: int) -> None:
        sentry_sdk.set_tag("number", number)
        raise RuntimeError("the cause")

    @router.get("/{number}/broken-in-thread")
    def broken_in_thread(number: int) -> None:
        raise ValueError("in a thread")

    @router.get("/{number}/unknown")
    async def unknown(number: int) -> None:
        raise HTTPException(404)

    @router.get("/{number}/unavailable")
    async def unavailable(number: int) -> None:
        raise HTTPException(503)

    @router.get("/{number}/told")
    async def told(number: int) -> None:
        sentry_sdk.capture_message("Something to know")

    return router


def told_of(item: dict[str, Any]) -> dict[str, Any]:
    """The part of an event or a transaction that the test looks at."""
    return {
        "type": item.get("type", "event"),
        "transaction": item["transaction"],
        "exceptions": [
            [each["type"], each["value"], each["mechanism"]["handled"]]
            for each in item.get("exception", {}).get("values", [])
        ],
        "message": item.get("message"),
        "tags": item.get("tags", {}),
        "url": item["request"]["url"],
    }


def answers_of(app: FastAPI, transport: CapturingTransport) -> dict[str, Any]:
    """Ask for every path; return its status and what was sent meanwhile."""
    app.include_router(routes())
    answers = {}
    with TestClient(app, raise_server_exceptions=False) as client:
        transport.taken()
        for path in (
            "/orders/1/broken",
            "/orders/2/broken-in-thread",
            "/orders/3/unknown",
            "/orders/4/unavailable",
            "/orders/5/told",
            "/orders/six/told",
            "/nowhere",
        ):
            status = client.get(path).status_code
            sent = [told_of(item) for item in transport.taken()]
            answers[path] = {"status": status, "sent": sent}
    return answers


def main(output: Path) -> None:
    transport = CapturingTransport()
    sentry_sdk.init(dsn="https://key@sentry.example/1", transport=transport, traces_sample_rate=1.0)
    answers = {kind: answers_of(maker_of(kind)(), transport) for kind in KINDS}
    output.write_text(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
