"""Starlette's Jinja2Templates."""

from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from fastapi.testclient import TestClient

PAGE = """<link href="{{ url_for('static', path='/site.css') }}">
<a href="{{ url_for('read_book', number=number) }}">{{ title }}</a> {{ site }} {{ request.method }}
"""


def test_a_page_is_rendered_with_links_to_routes_and_files(
    application: Callable[..., FastAPI], open_client: Callable[..., TestClient], tmp_path: Path
) -> None:
    (tmp_path / "book.html").write_text(PAGE)
    templates = Jinja2Templates(
        directory=tmp_path, context_processors=[lambda _: {"site": "Library"}]
    )
    app = application()
    app.mount("/static", StaticFiles(directory=tmp_path), name="static")
    router = APIRouter(prefix="/books")

    @router.get("/{number}", response_class=HTMLResponse)
    async def read_book(request: Request, number: int) -> HTMLResponse:
        context = {"number": number, "title": "<Emma>"}
        return templates.TemplateResponse(
            request, "book.html", context, headers={"X-Page": "book"}, status_code=203
        )

    app.include_router(router)
    answer = open_client(app).get("/books/3")
    assert answer.status_code == 203
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-page"] == "book"
    assert answer.text.splitlines() == [
        '<link href="http://testserver/static/site.css">',
        '<a href="http://testserver/books/3">&lt;Emma&gt;</a> Library GET',
    ]
