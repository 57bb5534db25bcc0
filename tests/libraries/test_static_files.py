"""Starlette's StaticFiles, mounted."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from fastapi.testclient import TestClient


@pytest.fixture
def client(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient], tmp_path: Path
) -> TestClient:
    files = tmp_path / "files"
    (files / "guide").mkdir(parents=True)
    (files / "site.css").write_text("a { color: red }")
    (files / "index.html").write_text("<p>home</p>")
    (files / "404.html").write_text("<p>nothing here</p>")
    (files / "guide" / "index.html").write_text("<p>guide</p>")
    (tmp_path / "secret.txt").write_text("secret")
    app = application()

    @app.get("/api/time")
    async def time() -> int:
        return 1

    app.mount("/static", StaticFiles(directory=files), name="static")
    app.mount("/", StaticFiles(directory=files, html=True), name="site")
    return open_client(app)


def test_a_file_is_served_and_revalidated(client: TestClient) -> None:
    answer = client.get("/static/site.css")
    assert answer.status_code == 200
    assert answer.text == "a { color: red }"
    assert answer.headers["content-type"].startswith("text/css")
    for header in ("etag", "last-modified", "content-length", "content-type"):
        assert len(answer.headers.get_list(header)) == 1
    for name, value in {
        "if-none-match": answer.headers["etag"],
        "if-modified-since": answer.headers["last-modified"],
    }.items():
        again = client.get("/static/site.css", headers={name: value})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == answer.headers["etag"]
    assert client.get("/static/site.css", headers={"if-none-match": '"x"'}).status_code == 200


def test_head_and_ranges(client: TestClient) -> None:
    head = client.head("/static/site.css")
    assert head.status_code == 200
    assert head.headers["content-length"] == "16"
    part = client.get("/static/site.css", headers={"range": "bytes=4-8"})
    assert part.status_code == 206
    assert part.text == "color"
    assert part.headers["content-range"] == "bytes 4-8/16"


def test_what_is_no_file_is_not_found(client: TestClient) -> None:
    assert client.get("/static/none.css").status_code == 404
    assert client.get("/static/guide").status_code == 404
    assert client.get("/static/%2e%2e/secret.txt").status_code == 404
    assert client.post("/static/site.css").status_code == 405


def test_a_site_of_html_files_behind_the_routes(client: TestClient) -> None:
    assert client.get("/").text == "<p>home</p>"
    assert client.get("/guide/").text == "<p>guide</p>"
    redirected = client.get("/guide", follow_redirects=False)
    assert redirected.status_code == 307
    assert redirected.headers["location"] == "http://testserver/guide/"
    missing = client.get("/none")
    assert missing.status_code == 404
    assert missing.text == "<p>nothing here</p>"
    assert client.get("/api/time").json() == 1


def test_a_frontend_behind_the_routes(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient], tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<p>frontend</p>")
    (tmp_path / "app.js").write_text("start()")
    app = application()
    app.frontend("/", directory=tmp_path, fallback="index.html")

    @app.get("/api/time")
    async def time() -> int:
        return 1

    client = open_client(app)
    pages = {"accept": "text/html"}
    assert client.get("/", headers=pages).text == "<p>frontend</p>"
    assert client.get("/app.js").text == "start()"
    assert client.get("/deep/link", headers=pages).text == "<p>frontend</p>"
    assert client.get("/api/time").json() == 1
    assert client.get("/docs").status_code == 200
