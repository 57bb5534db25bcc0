"""Runs programs until told to end: starts them, restarts what was changed, stops all of them.

Knows nothing of services or databases; `up.py` says what to run.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from watchfiles import PythonFilter, awatch

from devtools.program import Process, Program, status_in_words

READY_SECONDS: Final = 60.0


class ProgramFailedError(Exception):
    """A program did not start, or ended although nobody asked; the message is one sentence."""


class Supervisor:
    """Several programs that run together.

    Args:
        programs: started together, as far as one need not wait for another; stopped at once.
        heard: gets name and text of each line a program writes.
        noted: gets name and text of what happens to a program.
        changed: called when a program's state changes, with its name, the new state and its
            process id.
        reload: restart a program when one of its files changes.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        heard: Callable[[str, str], None],
        noted: Callable[[str, str], None],
        changed: Callable[[str, str, int | None], None],
        reload: bool,
    ) -> None:
        def listener(name: str) -> Callable[[str], None]:
            return lambda line: heard(name, line)

        self._processes = [Process(program, listener(program.name)) for program in programs]
        self._noted = noted
        self._changed = changed
        self._reload = reload
        self._ready = {program.name: asyncio.Event() for program in programs}

    async def start(self) -> None:
        """Start all, each after those it waits for; return when all are ready.

        Raises:
            ProgramFailedError: for the first that ended or took too long.
        """
        await _together(self._start(process) for process in self._processes)

    async def run(self) -> None:
        """Keep them running; returns only by an exception.

        Raises:
            ProgramFailedError: one ended by itself, without reload to start it again.
        """
        await _together(self._keep(process) for process in self._processes)

    async def stop(self) -> None:
        """End all, at once and in order."""
        await _together(self._stop(process) for process in self._processes)

    def kill(self) -> None:
        """End all without asking them."""
        for process in self._processes:
            process.kill()

    async def _start(self, process: Process) -> None:
        name = process.program.name
        for earlier in process.program.after:
            if earlier in self._ready:
                await self._ready[earlier].wait()
        await process.start()
        self._changed(name, "starting", process.pid)
        await self._until_ready(process)
        self._changed(name, "ready", process.pid)
        self._ready[name].set()

    async def _stop(self, process: Process) -> None:
        await process.stop()
        self._changed(process.program.name, "stopped", None)

    async def _until_ready(self, process: Process) -> None:
        """Return when it is ready.

        Raises:
            ProgramFailedError: it ended, or took too long.
        """
        name = process.program.name
        ready = asyncio.ensure_future(process.ready())
        ended = asyncio.ensure_future(process.ended())
        try:
            done, _ = await asyncio.wait(
                (ready, ended), timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
            ended.cancel()
        if ended in done:
            raise ProgramFailedError(
                f"{name} {status_in_words(ended.result())} while starting{_because(process)}"
            )
        if ready not in done:
            raise ProgramFailedError(
                f"{name} was not ready after {READY_SECONDS:g} s{_because(process)}"
            )

    async def _keep(self, process: Process) -> None:
        """Restart one program whenever its files change; notice when it ends by itself."""
        name = process.program.name
        if not self._reload:
            raise ProgramFailedError(f"{name} {status_in_words(await process.ended())}.")
        changes = _changes(process.program.watched)
        change = asyncio.ensure_future(anext(changes))
        life = asyncio.ensure_future(process.ended())
        ready: asyncio.Future[None] | None = None
        try:
            while True:
                waiting = {each for each in (change, life, ready) if each and not each.done()}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if change.done():
                    _cancel(life, ready)
                    ready = await self._restart(process, change.result())
                    life = asyncio.ensure_future(process.ended())
                    change = asyncio.ensure_future(anext(changes))
                elif life.done() and life in waiting:
                    _cancel(ready)
                    self._noted(
                        name, f"{status_in_words(life.result())}; it starts again at the next save"
                    )
                    self._changed(name, "stopped", None)
        finally:
            _cancel(change, life, ready)

    async def _restart(self, process: Process, files: Sequence[Path]) -> asyncio.Future[None]:
        """Stop and start a program; the result is done when it is ready again."""
        name, began = process.program.name, time.monotonic()
        self._noted(name, f"reloading, {_named(files)} changed")
        self._changed(name, "restarting", None)
        await process.stop()
        await process.start()
        self._changed(name, "restarting", process.pid)

        async def ready_again() -> None:
            await process.ready()
            self._noted(name, f"ready again after {time.monotonic() - began:.1f} s")
            self._changed(name, "ready", process.pid)

        return asyncio.ensure_future(ready_again())


async def _together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all at once; the first failure ends the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _changes(folders: Sequence[Path]) -> AsyncIterator[Sequence[Path]]:
    """The Python files that changed, whenever some did."""
    async for changed in awatch(*folders, watch_filter=PythonFilter()):
        yield [Path(path) for _, path in sorted(changed)]


def _cancel(*futures: asyncio.Future[Any] | None) -> None:
    for future in futures:
        if future is not None:
            future.cancel()


def _named(files: Sequence[Path]) -> str:
    first = files[0].name
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"


def _because(process: Process) -> str:
    """The end of a sentence: the last thing a program said, where it said something."""
    lines = [line.strip() for line in process.last_lines if line.strip()]
    return f": {lines[-1].rstrip('.')}." if lines else "."
