from pathlib import Path

import pytest
from sample_spans import span

from devtools.run import Run, Wishes
from devtools.telemetry.store import SpanStore, store_path
from devtools.terminal import Terminal


@pytest.mark.parametrize("url", ["", "https://viewer.example"])
async def test_without_a_receiver_spans_go_to_the_url_and_old_ones_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DEV_STATE_DIR", str(tmp_path))
    store = SpanStore(store_path())
    store.add([span("a")])
    store.close()
    run = Run(Terminal(), Wishes(services=(), otlp=url), background=True)
    await run._start_telemetry()
    assert run._state.otlp_endpoint == url
    assert run._state.receiver is None
    assert not store_path().exists()
