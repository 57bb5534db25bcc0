"""Serves the documentation of problem types, made from the registry: `/problems`, a page each."""

import inspect
from html import escape

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from service_platform.errors.problem import Problem, registry

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><main>{body}</main></body></html>
"""


def problem_routes() -> list[Route]:
    """Return the routes that serve the pages."""
    return [
        Route("/problems", _index, methods=["GET"], include_in_schema=False),
        Route("/problems/{slug}", _page, methods=["GET"], include_in_schema=False),
    ]


async def _index(_: Request) -> HTMLResponse:
    rows = "".join(
        f'<tr><td>{problem.status}</td><td><a href="problems/{slug}">{slug}</a></td>'
        f"<td>{escape(problem.title)}</td></tr>"
        for slug, problem in sorted(registry.items(), key=lambda item: (item[1].status, item[0]))
    )
    body = f"<h1>Problems</h1><table><tr><th>Status</th><th>Type</th><th>Title</th></tr>{rows}"
    return HTMLResponse(_PAGE.format(title="Problems", body=f"{body}</table>"))


async def _page(request: Request) -> HTMLResponse:
    problem = registry.get(request.path_params["slug"])
    if problem is None:
        raise HTTPException(404)
    return HTMLResponse(_PAGE.format(title=escape(problem.title), body=_describe(problem)))


def _describe(problem: type[Problem]) -> str:
    text = inspect.getdoc(problem) or ""
    paragraphs = text.split("\n\nArgs:")[0].split("\n\n")
    body = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)
    return (
        f"<h1>{escape(problem.title)}</h1><p>Status <code>{problem.status}</code>, "
        f"error <code>{problem.code()}</code></p>{body}"
    )
