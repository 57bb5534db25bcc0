"""Pauses of the garbage collector, also of one that begins while a metric is written."""

import gc
import threading
import time
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from service_platform.runtime.garbage_collection import (
    MOST_KEPT,
    GarbageCollectionPauses,
    pause_seconds,
)

NAME = "python_gc_pause_seconds"


def count_of(generation: int) -> float:
    return REGISTRY.get_sample_value(f"{NAME}_count", {"generation": str(generation)}) or 0.0


@pytest.fixture
def pauses() -> Iterator[GarbageCollectionPauses]:
    """Measures only the collections of the test."""
    enabled, callbacks = gc.isenabled(), gc.callbacks[:]
    gc.disable()
    gc.callbacks.clear()
    measured = GarbageCollectionPauses()
    measured.start()
    yield measured
    gc.callbacks[:] = callbacks
    if enabled:
        gc.enable()


def test_a_collection_is_counted_under_its_generation(pauses: GarbageCollectionPauses) -> None:
    before = [count_of(generation) for generation in range(3)]
    gc.collect(2)
    gc.collect(2)
    pauses.observe()
    after = [count_of(generation) for generation in range(3)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [0, 0, 2]
    pauses.observe()
    assert [count_of(generation) for generation in range(3)] == after


def test_what_is_frozen_is_collected_no_more_and_still_counted(
    pauses: GarbageCollectionPauses,
) -> None:
    before, statistics = count_of(2), gc.get_stats()[2]["collections"]
    gc.freeze()
    try:
        gc.collect(2)
    finally:
        gc.unfreeze()
    pauses.observe()
    assert count_of(2) - before == 1
    assert gc.get_stats()[2]["collections"] - statistics == 1


def test_a_pause_lasts_from_the_begin_to_the_end(pauses: GarbageCollectionPauses) -> None:
    labels = {"generation": "2"}
    before = REGISTRY.get_sample_value(f"{NAME}_sum", labels) or 0.0
    began = time.perf_counter()
    gc.collect(2)
    (pause,) = pauses._kept[2]
    assert 0 < pause <= time.perf_counter() - began
    pauses.observe()
    assert REGISTRY.get_sample_value(f"{NAME}_sum", labels) == pytest.approx(before + pause)


def test_a_collection_may_begin_while_the_metric_is_locked(
    pauses: GarbageCollectionPauses,
) -> None:
    def collect() -> None:
        with pause_seconds.labels("2")._sum._lock:
            gc.collect(2)

    before = count_of(2)
    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive()
    pauses.observe()
    assert count_of(2) - before == 1


def test_what_nobody_observes_is_bounded(pauses: GarbageCollectionPauses) -> None:
    for _ in range(MOST_KEPT + 5):
        pauses._collecting("start", {"generation": 0})
        pauses._collecting("stop", {"generation": 0})
    assert len(pauses._kept[0]) == MOST_KEPT


def test_it_begins_once(pauses: GarbageCollectionPauses) -> None:
    pauses.start()
    before = count_of(2)
    gc.collect(2)
    pauses.observe()
    assert count_of(2) - before == 1
