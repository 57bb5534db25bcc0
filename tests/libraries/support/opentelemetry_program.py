"""Instruments FastAPI before the application is imported, as `opentelemetry-instrument` does.

A program of its own, because `instrument()` replaces the class in the module `fastapi`. Its
argument is the file to write to.
"""

import json
import sys
from pathlib import Path

from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind


def main(output: Path) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    FastAPIInstrumentor().instrument(tracer_provider=provider)

    from applications_under_test import KINDS, maker_of  # noqa: PLC0415 - after instrument()
    from fastapi.testclient import TestClient  # noqa: PLC0415

    spans = {}
    for kind in KINDS:
        app = maker_of(kind)()

        @app.get("/orders/{number}")
        async def read(number: int) -> int:
            return number

        with TestClient(app) as client:
            client.get("/orders/7")
        spans[kind] = [
            [span.name, dict(span.attributes or {})]
            for span in exporter.get_finished_spans()
            if span.kind is SpanKind.SERVER
        ]
        exporter.clear()
    output.write_text(json.dumps(spans))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
