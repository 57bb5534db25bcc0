"""Resources start in order and stop in reverse, whatever fails in between."""

import asyncio

import pytest

from service_platform import resources
from service_platform.resources import Lifecycle


class Recorder:
    """A resource that writes down what happens to it."""

    critical = True

    def __init__(self, name: str, events: list[str], *, fail: str = "", hang: bool = False) -> None:
        self.name = name
        self.events = events
        self.fail = fail
        self.hang = hang

    async def start(self) -> None:
        if self.fail == "start":
            raise ConnectionError("no")
        self.events.append(f"start {self.name}")

    async def stop(self) -> None:
        self.events.append(f"stop {self.name}")
        if self.hang:
            await asyncio.Event().wait()
        if self.fail == "stop":
            raise ConnectionError("no")

    async def check(self) -> None:
        return


async def test_they_stop_in_reverse_order() -> None:
    events: list[str] = []
    lifecycle = Lifecycle([Recorder("a", events), Recorder("b", events)])
    async with lifecycle:
        assert lifecycle.started
        assert not lifecycle.draining
    assert events == ["start a", "start b", "stop b", "stop a"]
    assert lifecycle.draining


async def test_when_one_does_not_start_the_others_are_stopped() -> None:
    events: list[str] = []
    lifecycle = Lifecycle([Recorder("a", events), Recorder("b", events, fail="start")])
    with pytest.raises(ConnectionError):
        async with lifecycle:
            pytest.fail("must not be entered")
    assert events == ["start a", "stop a"]
    assert not lifecycle.started


async def test_one_that_fails_to_stop_holds_up_no_other() -> None:
    events: list[str] = []
    async with Lifecycle([Recorder("a", events), Recorder("b", events, fail="stop")]):
        pass
    assert events[-2:] == ["stop b", "stop a"]


async def test_one_that_hangs_while_stopping_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resources, "STOP_TIMEOUT_SECONDS", 0.01)
    events: list[str] = []
    async with Lifecycle([Recorder("a", events), Recorder("b", events, hang=True)]):
        pass
    assert events[-2:] == ["stop b", "stop a"]


def test_two_resources_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match="Two resources are named 'a'"):
        Lifecycle([Recorder("a", []), Recorder("a", [])])
