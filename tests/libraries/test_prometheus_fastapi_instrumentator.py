"""prometheus-fastapi-instrumentator beside the platform's own metrics."""

from collections.abc import Callable

from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator


def test_requests_are_counted_by_route_and_status(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()
    registry = CollectorRegistry()
    Instrumentator(registry=registry).instrument(app).expose(app, endpoint="/library-metrics")
    router = APIRouter(prefix="/orders")

    @router.get("/{number}")
    async def read(number: int) -> int:
        return number

    @router.get("/{number}/broken")
    async def broken(number: int) -> None:
        raise RuntimeError

    app.include_router(router)
    client = open_client(app)
    for path, status in {
        "/orders/1": 200,
        "/orders/2": 200,
        "/orders/three": 422,
        "/orders/4/broken": 500,
        "/nowhere": 404,
    }.items():
        assert client.get(path).status_code == status

    def count(handler: str, status: str) -> float | None:
        labels = {"method": "GET", "handler": handler, "status": status}
        return registry.get_sample_value("http_requests_total", labels)

    assert count("/orders/{number}", "2xx") == 2
    assert count("/orders/{number}", "4xx") == 1
    assert count("/orders/{number}/broken", "5xx") == 1
    assert count("none", "4xx") == 1

    exposed = client.get("/library-metrics")
    assert exposed.headers["content-type"].startswith("text/plain")
    expected = 'http_requests_total{handler="/orders/{number}",method="GET",status="2xx"} 2.0'
    assert expected in exposed.text
    assert "/library-metrics" in client.get("/openapi.json").json()["paths"]


def test_metrics_are_exposed_at_the_usual_path(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient]
) -> None:
    app = application()
    Instrumentator(registry=CollectorRegistry()).instrument(app).expose(app)
    client = open_client(app)
    client.get("/metrics")
    expected = 'http_requests_total{handler="/metrics",method="GET",status="2xx"} 1.0'
    assert expected in client.get("/metrics").text
