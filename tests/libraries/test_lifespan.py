"""What runs beside requests: background tasks, the lifespan and what it yields, events."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypedDict

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.testclient import TestClient


def test_background_tasks_of_a_dependency_and_a_route(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    done: list[str] = []

    def note(word: str) -> None:
        done.append(word)

    async def note_later(word: str) -> None:
        done.append(word)

    def noting(tasks: BackgroundTasks) -> None:
        tasks.add_task(note, "dependency")

    app = application()

    @app.post("/letters", status_code=202, dependencies=[Depends(noting)])
    async def send(tasks: BackgroundTasks) -> str:
        tasks.add_task(note_later, word="route")
        return "accepted"

    answer = open_client(app).post("/letters")
    assert (answer.status_code, answer.json()) == (202, "accepted")
    assert done == ["dependency", "route"]


class State(TypedDict):
    catalogue: dict[str, str]


def test_the_lifespan_and_its_state(application: Callable[..., FastAPI]) -> None:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        app.state.opened = True
        log.append("start")
        yield {"catalogue": {"1": "Emma"}}
        log.append("stop")

    app = application(lifespan=lifespan)

    @app.get("/books/{number}")
    async def book(number: str, request: Request) -> str:
        assert request.app is app
        assert request.app.state.opened
        title: str = request.state.catalogue[number]
        return title

    with TestClient(app) as client:
        assert log == ["start"]
        assert client.get("/books/1").json() == "Emma"
    assert log == ["start", "stop"]


def test_an_application_whose_lifespan_fails_does_not_start(
    application: Callable[..., FastAPI],
) -> None:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if not log:
            raise RuntimeError("no catalogue")
        yield

    with (
        pytest.raises(RuntimeError, match="no catalogue"),
        TestClient(application(lifespan=lifespan)),
    ):
        pass


@pytest.mark.filterwarnings(r"ignore:\s*on_event is deprecated:DeprecationWarning")
def test_startup_and_shutdown_events(application: Callable[..., FastAPI]) -> None:
    log: list[str] = []
    app = application()

    @app.on_event("startup")
    async def start() -> None:
        log.append("start")

    @app.on_event("shutdown")
    def stop() -> None:
        log.append("stop")

    with TestClient(app):
        assert log == ["start"]
    assert log == ["start", "stop"]
