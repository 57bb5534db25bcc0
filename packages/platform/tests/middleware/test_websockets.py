"""WebSockets: token, origin, limits, metrics and access log."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

from service_platform import logging
from service_platform.app import ServiceApp
from service_platform.errors import Forbidden, NotFound, Unauthorized
from service_platform.identity import CurrentPrincipal, OptionalPrincipal, Principal, RequireScope
from service_platform.middleware import timeout
from service_platform.ratelimit import limit
from service_platform.settings import PlatformSettings

PRODUCTION = {
    "environment": "production",
    "secret_key": "s" * 48,
    "database_url": "postgresql://user@host/db?sslmode=verify-full",
}


class Verifier:
    """Accepts the tokens `good` and `writer`; a resource that stands for the issuer's keys."""

    name = "identity"
    critical = False

    def __init__(self, principals: dict[str, Principal]) -> None:
        self.principals = principals

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def check(self) -> None:
        pass

    def verify_cached(self, token: str) -> Principal | None:
        return self.principals.get(token)

    async def verify(self, token: str) -> Principal:
        raise Unauthorized("The access token is not valid.", error="invalid_token")


def principal(*scopes: str) -> Principal:
    return Principal(
        subject=uuid.UUID("019ab6a1-7c1e-7d3e-8f6e-2f0c6a1f5a10"),
        client_id="web",
        scopes=frozenset(scopes),
        roles=frozenset(),
        session_id=None,
        token_id="t",
        expires_at=2**40,
        issued_at=0,
    )


def service(**changed: Any) -> ServiceApp:
    settings = PlatformSettings(
        _env_file=None,
        **{"environment": "test", "rate_limit_backend": "memory", "log_format": "json", **changed},
    )
    verifier = Verifier({"good": principal(), "writer": principal("rooms:write")})
    app = ServiceApp(settings=settings, resources=[verifier])

    @app.websocket("/rooms/{room}")
    async def chat(websocket: WebSocket, room: str, caller: CurrentPrincipal) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(f"{room}: {text}")

    @app.websocket("/protocols")
    async def protocols(websocket: WebSocket, caller: OptionalPrincipal) -> None:
        offered = list(websocket["subprotocols"])
        await websocket.accept(subprotocol="chat" if "chat" in offered else None)
        await websocket.send_json(
            {
                "offered": offered,
                "headers": websocket.headers.get("sec-websocket-protocol"),
                "caller": caller is not None,
            }
        )
        await websocket.close()

    @app.websocket("/write")
    async def write(
        websocket: WebSocket, caller: Annotated[Principal, RequireScope("rooms:write")]
    ) -> None:
        await websocket.accept()
        await websocket.close()

    @app.websocket("/limited")
    @limit("3/minute", per="message")
    async def limited(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    @app.websocket("/problem/{when}")
    async def problem(websocket: WebSocket, when: str) -> None:
        if when == "before":
            raise NotFound("No such room.")
        await websocket.accept()
        raise Forbidden("Not here.") if when == "after" else ZeroDivisionError

    @app.websocket("/slow")
    @timeout(0.05)
    async def slow(websocket: WebSocket) -> None:
        await asyncio.Event().wait()

    return app


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(service()) as client:
        yield client


def refusal(client: TestClient, path: str, **options: Any) -> WebSocketDenialResponse:
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect(path, **options),
    ):
        pass
    return refused.value


def subprotocol_of(websocket: Any) -> str | None:
    accepted: str | None = websocket.accepted_subprotocol
    return accepted


def test_a_token_in_a_header_is_read(client: TestClient) -> None:
    headers = {"authorization": "Bearer good"}
    with client.websocket_connect("/rooms/a", headers=headers) as websocket:
        websocket.send_text("hello")
        assert websocket.receive_text() == "a: hello"


def test_a_browser_offers_its_token_as_a_subprotocol(client: TestClient) -> None:
    with client.websocket_connect("/rooms/a", subprotocols=["bearer", "good"]) as websocket:
        assert subprotocol_of(websocket) == "bearer"
        websocket.send_text("hello")
        assert websocket.receive_text() == "a: hello"


def test_the_application_sees_the_other_subprotocols_only(client: TestClient) -> None:
    offered = ["bearer", "good", "chat"]
    with client.websocket_connect("/protocols", subprotocols=offered) as websocket:
        assert subprotocol_of(websocket) == "chat"
        assert websocket.receive_json() == {"offered": ["chat"], "headers": "chat", "caller": True}


def test_subprotocols_without_a_token_are_left_alone(client: TestClient) -> None:
    with client.websocket_connect("/protocols", subprotocols=["chat", "v2"]) as websocket:
        seen = websocket.receive_json()
    assert seen == {"offered": ["chat", "v2"], "headers": "chat, v2", "caller": False}


@pytest.mark.parametrize(
    "options",
    [{}, {"headers": {"authorization": "Bearer bad"}}, {"subprotocols": ["bearer", "bad"]},
     {"subprotocols": ["bearer"]}],
)  # fmt: skip
def test_without_a_valid_token_the_answer_is_401(
    client: TestClient, options: dict[str, Any]
) -> None:
    refused = refusal(client, "/rooms/a", **options)
    assert (refused.status_code, refused.json()["error"]) == (401, "unauthorized")
    assert refused.headers["x-request-id"]


def test_a_scope_is_demanded(client: TestClient) -> None:
    assert refusal(client, "/write", subprotocols=["bearer", "good"]).status_code == 403
    with client.websocket_connect("/write", subprotocols=["bearer", "writer"]):
        pass


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://testserver", True),
        ("https://app.example", True),
        ("https://testserver", False),
        ("http://testserver:81", False),
        ("http://testserver.evil.example", False),
        ("https://evil.example", False),
        ("null", False),
        ("http://localhost:3000", False),
        ("http://", False),
    ],
)
def test_pages_of_other_origins_may_not_connect(origin: str | None, allowed: bool) -> None:
    headers = {} if origin is None else {"origin": origin}
    with TestClient(service(**PRODUCTION, cors_origins=["https://app.example"])) as client:
        if allowed:
            with client.websocket_connect("/protocols", headers=headers):
                return
        refused = refusal(client, "/protocols", headers=headers)
    assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")


def test_a_client_that_sends_too_much_is_disconnected(client: TestClient) -> None:
    with client.websocket_connect("/limited") as websocket:
        for number in range(3):
            websocket.send_text(str(number))
            assert websocket.receive_text() == str(number)
        websocket.send_text("too much")
        with pytest.raises(WebSocketDisconnect) as ended:
            websocket.receive_text()
    assert ended.value.code == 1008
    with client.websocket_connect("/limited") as websocket:
        websocket.send_text("still too much")
        with pytest.raises(WebSocketDisconnect):
            websocket.receive_text()


def test_problems_are_answered_before_and_close_after_the_handshake(client: TestClient) -> None:
    refused = refusal(client, "/problem/before")
    assert (refused.status_code, refused.json()["detail"]) == (404, "No such room.")
    with (
        client.websocket_connect("/problem/after") as websocket,
        pytest.raises(WebSocketDisconnect) as ended,
    ):
        websocket.receive_text()
    assert (ended.value.code, ended.value.reason) == (1008, "Not here.")


def test_an_unhandled_exception_is_raised_on(client: TestClient) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        client.websocket_connect("/problem/unhandled") as websocket,
    ):
        websocket.receive_text()


def test_a_handshake_has_a_time_limit(client: TestClient) -> None:
    refused = refusal(client, "/slow")
    assert (refused.status_code, refused.json()["error"]) == (504, "timeout")


def test_an_unknown_path_is_refused_and_counted(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/nowhere"):
        pass


def test_a_dependency_may_be_overridden(client: TestClient) -> None:
    app: FastAPI = client.app  # type: ignore[assignment]

    def who() -> str:
        return "real"

    @app.websocket("/who")
    async def tell(websocket: WebSocket, name: Annotated[str, Depends(who)]) -> None:
        await websocket.accept()
        await websocket.send_text(name)
        await websocket.close()

    app.dependency_overrides[who] = lambda: "other"
    with client.websocket_connect("/who") as websocket:
        assert websocket.receive_text() == "other"


def test_websockets_are_counted_and_logged(capsys: pytest.CaptureFixture[str]) -> None:
    with TestClient(service()) as client:
        headers = {"authorization": "Bearer good", "x-request-id": "ws-1"}
        with client.websocket_connect("/rooms/secret?token=hunter2", headers=headers) as websocket:
            websocket.send_text("hello")
            websocket.receive_text()
            during = client.get("/metrics").text
        after = client.get("/metrics").text
        refusal(client, "/rooms/a", headers={"x-request-id": "ws-2"})
    route = 'route="/rooms/{room}"'
    assert f"websocket_connections{{{route}}} 1.0" in during
    assert f"websocket_connections{{{route}}} 0.0" in after
    assert f'websocket_messages_total{{direction="received",{route}}}' in after
    assert f'websocket_connection_duration_seconds_count{{close_code="1000",{route}}}' in after
    logging.writer.close()
    out = capsys.readouterr().out
    assert "hunter2" not in out
    events = {
        event["request_id"]: event
        for line in out.splitlines()
        if (event := json.loads(line))["event"] == "websocket"
    }
    served, refused = events["ws-1"], events["ws-2"]
    assert served["http.route"] == refused["http.route"] == "/rooms/{room}"
    assert (served["http.response.status_code"], served["websocket.close_code"]) == (101, 1000)
    assert (served["websocket.messages.received"], served["websocket.messages.sent"]) == (1, 1)
    assert served["account"]
    assert (refused["http.response.status_code"], refused["websocket.close_code"]) == (401, None)
