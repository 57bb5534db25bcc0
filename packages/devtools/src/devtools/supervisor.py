"""Runs programs until told to end: starts them, restarts what changed or died, stops all of them.

Knows nothing of services or databases; `run.py` says what to run.
"""

import asyncio
import os
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from watchfiles import PythonFilter, awatch

from devtools.errors import CommandError
from devtools.program import Process, Program, status_in_words

READY_SECONDS: Final = 60.0
HOPELESS_SECONDS: Final = 4.0
"""How long a state that does not mend itself is looked at before it is believed."""
HOPELESS: Final = frozenset({"schema_missing", "schema_outdated"})
_QUIET: Final = re.compile(r"\[(debug|info)\s*\]|\"level\":\s*\"(debug|info)\"")
RESTARTS: Final = 3
RESTARTS_WITHIN_SECONDS: Final = 60.0
"""A program that dies more often than this is not started again."""


class ProgramFailedError(CommandError):
    """A program did not start, or ended although nobody asked; the message is one sentence.

    Attributes:
        status: its exit status, where it ended.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Changed(Protocol):
    """Hears of a program's new state."""

    def __call__(self, name: str, state: str, pid: int | None, detail: str = "", /) -> None:
        """Take note: name, state, process id, and why."""


class Supervisor:
    """Several programs that run together.

    Args:
        programs: started together, as far as one need not wait for another; stopped at once.
        heard: gets name and text of each line a program writes.
        noted: gets name and text of what happens to a program.
        changed: called when a program's state changes.
        reload: restart a program when one of its files changes.
        reloaded: called after such a restart has begun, with the program's name.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        heard: Callable[[str, str], None],
        noted: Callable[[str, str], None],
        changed: Changed,
        reload: bool,
        reloaded: Callable[[str], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        def listener(name: str) -> Callable[[str], None]:
            return lambda line: heard(name, line)

        self._processes = [Process(program, listener(program.name)) for program in programs]
        self._noted = noted
        self._changed = changed
        self._reload = reload
        self._reloaded = reloaded
        self._ready = {program.name: asyncio.Event() for program in programs}

    async def start(self) -> None:
        """Start all, each after those it waits for; return when all are ready.

        Raises:
            ProgramFailedError: for the first that ended or took too long.
        """
        await together(self._start(process) for process in self._processes)

    async def run(self) -> None:
        """Keep them running; returns only by an exception.

        Raises:
            ProgramFailedError: one ended by itself, and starting it again does not help.
        """
        await together(self._keep(process) for process in self._processes)

    async def stop(self) -> None:
        """End all, at once and in order."""
        await together(self._stop(process) for process in self._processes)

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
            ProgramFailedError: it ended, took too long, or is in a state that stays.
        """
        name = process.program.name
        ready = asyncio.ensure_future(process.ready())
        ended = asyncio.ensure_future(process.ended())
        hopeless = asyncio.ensure_future(_hopeless(process))
        try:
            done, _ = await asyncio.wait(
                (ready, ended, hopeless),
                timeout=READY_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            _cancel(ready, ended, hopeless)
        if ended in done:
            status = ended.result()
            raise ProgramFailedError(
                f"{name} {status_in_words(status)} while starting{because(process)}", status
            )
        if ready not in done:
            waits = f": {process.reason}." if process.reason else because(process)
            how = "is not ready" if hopeless in done else f"was not ready after {READY_SECONDS:g} s"
            raise ProgramFailedError(f"{name} {how}{waits}")

    async def _keep(self, process: Process) -> None:
        """Restart one program whenever its files change or it dies."""
        name = process.program.name
        changes = _changes(process.program.watched) if self._reload else None
        change = asyncio.ensure_future(anext(changes)) if changes else None
        life = asyncio.ensure_future(process.ended())
        ready: asyncio.Future[None] | None = None
        deaths: deque[float] = deque(maxlen=RESTARTS)
        try:
            while True:
                waiting = {each for each in (change, life, ready) if each and not each.done()}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if changes and change and change.done():
                    _cancel(life, ready)
                    self._noted(name, f"reloading, {_named(change.result())} changed")
                    ready = await self._restart(process)
                    if self._reloaded is not None:
                        await self._reloaded(name)
                    change = asyncio.ensure_future(anext(changes))
                elif life in waiting and life.done():
                    _cancel(ready)
                    ready = await self._after_death(process, life.result(), deaths)
                else:
                    continue
                if ready is not None:
                    life = asyncio.ensure_future(process.ended())
        finally:
            _cancel(change, life, ready)

    async def _after_death(
        self, process: Process, status: int, deaths: deque[float]
    ) -> asyncio.Future[None] | None:
        """Start a program again that ended; nothing where only the next save can help.

        Raises:
            ProgramFailedError: it ends again and again, or says that it always will.
        """
        name, now = process.program.name, time.monotonic()
        ended = status_in_words(status)
        often = len(deaths) == RESTARTS and now - deaths[0] < RESTARTS_WITHIN_SECONDS
        deaths.append(now)
        if self._reload and (often or status >= 0):
            # An error in the code, as a rule: whoever edits it sees it, and saves again.
            self._noted(name, f"{ended}; it starts again at the next save")
            self._changed(name, "stopped", None, f"it {ended}")
            return None
        if status == os.EX_CONFIG or often:
            raise ProgramFailedError(f"{name} {ended}{because(process)}", status)
        self._noted(name, f"{ended}; it is started again")
        return await self._restart(process, f"it {ended}")

    async def _restart(self, process: Process, detail: str = "") -> asyncio.Future[None]:
        """Stop and start a program; the result is done when it is ready again."""
        name, began = process.program.name, time.monotonic()
        self._changed(name, "restarting", None, detail)
        await process.stop()
        await process.start()
        self._changed(name, "restarting", process.pid, detail)

        async def ready_again() -> None:
            await process.ready()
            self._noted(name, f"ready again after {time.monotonic() - began:.1f} s")
            self._changed(name, "ready", process.pid, detail)

        return asyncio.ensure_future(ready_again())


async def together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all at once; the first failure ends the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def because(process: Process) -> str:
    """The end of a sentence: what a program said last, where it said something."""
    lines = [line for line in process.last_lines if line.strip()]
    for at, line in enumerate(lines):
        if line.startswith("The configuration is not valid") and at + 1 < len(lines):
            return f": {'; '.join(each.strip().rstrip('.') for each in lines[at + 1 :])}."
    # What is logged at the end of a start that failed says less than what failed.
    told = [line for line in lines if not _QUIET.search(line)] or lines
    return f": {told[-1].strip().rstrip('.')}." if told else "."


async def _hopeless(process: Process) -> None:
    """Return when a program has been unready for a while for a reason that will not go away."""
    while True:
        await asyncio.sleep(HOPELESS_SECONDS)
        if process.reason in HOPELESS:
            return


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
