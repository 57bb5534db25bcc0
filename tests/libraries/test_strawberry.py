"""strawberry-graphql's router: queries, mutations, its page, subscriptions over a websocket."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
import strawberry
from fastapi import FastAPI, Header
from fastapi.testclient import TestClient
from strawberry.fastapi import GraphQLRouter
from strawberry.types import Info


@strawberry.type
class Book:
    title: str


@strawberry.type
class Query:
    @strawberry.field
    def book(self, info: Info[dict[str, Any], None], number: int) -> Book:
        return Book(title=f"{info.context['reader']}'s book {number}")

    @strawberry.field
    def broken(self) -> str:
        raise RuntimeError("the cause")


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def add(self, title: str) -> Book:
        return Book(title=title)


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, up_to: int) -> AsyncIterator[int]:
        for number in range(up_to):
            yield number


async def context(x_reader: Annotated[str, Header()] = "nobody") -> dict[str, str]:
    return {"reader": x_reader}


@pytest.fixture
def client(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> TestClient:
    schema = strawberry.Schema(query=Query, mutation=Mutation, subscription=Subscription)
    app = application()
    app.include_router(GraphQLRouter(schema, context_getter=context), prefix="/graphql")
    return open_client(app)


def test_queries_and_mutations(client: TestClient) -> None:
    asked = client.post(
        "/graphql",
        json={"query": "query($n: Int!) { book(number: $n) { title } }", "variables": {"n": 2}},
        headers={"x-reader": "Dorothea"},
    )
    assert asked.json() == {"data": {"book": {"title": "Dorothea's book 2"}}}
    added = client.post("/graphql", json={"query": 'mutation { add(title: "Emma") { title } }'})
    assert added.json() == {"data": {"add": {"title": "Emma"}}}
    read = client.get("/graphql", params={"query": "{ book(number: 1) { title } }"})
    assert read.json() == {"data": {"book": {"title": "nobody's book 1"}}}


def test_an_error_of_a_field_is_an_answer(client: TestClient) -> None:
    answer = client.post("/graphql", json={"query": "{ broken }"})
    assert answer.status_code == 200
    assert [error["message"] for error in answer.json()["errors"]] == ["the cause"]
    assert client.post("/graphql", json={"nothing": True}).status_code == 400


def test_the_page_for_browsers(client: TestClient) -> None:
    answer = client.get("/graphql", headers={"accept": "text/html"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_a_subscription_over_a_websocket(client: TestClient) -> None:
    with client.websocket_connect("/graphql", ["graphql-transport-ws"]) as connection:
        connection.send_json({"type": "connection_init"})
        assert connection.receive_json()["type"] == "connection_ack"
        query = {"query": "subscription { count(upTo: 2) }"}
        connection.send_json({"type": "subscribe", "id": "1", "payload": query})
        received = [connection.receive_json() for _ in range(3)]
    assert [each.get("payload") for each in received] == [
        {"data": {"count": 0}},
        {"data": {"count": 1}},
        None,
    ]
    assert received[2]["type"] == "complete"
