import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from devtools.program import Program
from devtools.supervisor import RESTARTS, ProgramFailedError, Supervisor

ANSWERS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{word}")
    def log_message(self, *_):
        pass
print("serving {word}", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Crew:
    """Tiny programs below a supervisor, and everything it reported."""

    def __init__(self, folder: Path, free_port: Callable[[], int]) -> None:
        self.folder = folder
        self.free_port = free_port
        self.programs: list[Program] = []
        self.heard: list[str] = []
        self.noted: list[str] = []
        self.states: list[tuple[str, str]] = []

    def add(self, name: str, source: str = ANSWERS, **words: str) -> Program:
        folder = self.folder / name
        folder.mkdir()
        path = folder / "program.py"
        path.write_text(source.replace("{word}", words.get("word", name)))
        port = self.free_port()
        program = Program(
            name=name,
            command=(sys.executable, str(path), str(port)),
            environment={**os.environ, "CREW": str(self.folder)},
            port=port,
            watched=(folder,),
        )
        self.programs.append(program)
        return program

    def supervisor(self, *, reload: bool = False) -> Supervisor:
        return Supervisor(
            self.programs,
            heard=lambda name, line: self.heard.append(f"{name}: {line}"),
            noted=lambda name, text: self.noted.append(f"{name} {text}"),
            changed=lambda name, state, _pid, _detail="": self.states.append((name, state)),
            reload=reload,
        )

    def save(self, name: str, source: str) -> None:
        (self.folder / name / "program.py").write_text(source)

    def processes(self) -> list[int]:
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("CREW") == str(self.folder)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def crew(tmp_path: Path, free_port: Callable[[], int]) -> Crew:
    return Crew(tmp_path, free_port)


async def get(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.rpartition(b"\r\n\r\n")[2]


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while True:
            result = condition()
            if result if isinstance(result, bool) else await result:
                return
            await asyncio.sleep(0.02)


async def running(supervisor: Supervisor) -> "asyncio.Task[None]":
    """Keep the programs running; the watch on their files needs a moment to begin."""
    task = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0.5)
    return task


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


async def test_it_returns_when_every_program_answers(crew: Crew) -> None:
    first, second = crew.add("first"), crew.add("second")
    supervisor = crew.supervisor()
    await supervisor.start()
    assert [await get(first.port), await get(second.port)] == [b"first", b"second"]
    assert ("first", "ready") in crew.states
    await supervisor.stop()
    assert "first: serving first" in crew.heard


async def test_a_program_that_ends_while_starting_is_named_with_its_last_words(crew: Crew) -> None:
    crew.add("fine")
    crew.add("broken", "import sys\nprint('the disk is full')\nsys.exit(3)\n")
    supervisor = crew.supervisor()
    with pytest.raises(ProgramFailedError) as caught:
        await supervisor.start()
    assert str(caught.value) == (
        "broken ended with exit status 3 while starting: the disk is full."
    )
    await supervisor.stop()
    assert crew.processes() == []


async def test_the_reason_of_a_failed_start_is_not_what_is_logged_behind_it(crew: Crew) -> None:
    lines = ("SECRET_KEY does not open the keys.", "10:00:00.000 [info     ] Pool disposed")
    crew.add("broken", f"import sys\nprint(*{lines!r}, sep='\\n')\nsys.exit(78)\n")
    supervisor = crew.supervisor()
    with pytest.raises(ProgramFailedError, match=r"SECRET_KEY does not open the keys\.$"):
        await supervisor.start()
    await supervisor.stop()


async def test_a_saved_change_restarts_only_its_program_on_the_same_port(crew: Crew) -> None:
    program, other = crew.add("editor"), crew.add("other")
    supervisor = crew.supervisor(reload=True)
    await supervisor.start()
    task = await running(supervisor)
    crew.save("editor", ANSWERS.replace("{word}", "changed"))
    await until(lambda: any("ready again" in note for note in crew.noted))
    assert await get(program.port) == b"changed"
    assert await get(other.port) == b"other"
    assert crew.noted[0] == "editor reloading, program.py changed"
    assert not any(note.startswith("other") for note in crew.noted)
    await ended(task)
    await supervisor.stop()


async def test_a_syntax_error_is_shown_and_the_next_save_recovers(crew: Crew) -> None:
    program = crew.add("editor")
    supervisor = crew.supervisor(reload=True)
    await supervisor.start()
    task = await running(supervisor)
    crew.save("editor", "def broken(:\n")
    await until(lambda: any("next save" in note for note in crew.noted))
    assert any("SyntaxError" in line for line in crew.heard)
    assert crew.states[-1] == ("editor", "stopped")
    crew.save("editor", ANSWERS.replace("{word}", "mended"))
    await until(lambda: any("ready again" in note for note in crew.noted))
    assert await get(program.port) == b"mended"
    await ended(task)
    await supervisor.stop()


async def kill(crew: Crew, name: str) -> None:
    """Kill a program's process once it answers."""
    port = next(each.port for each in crew.programs if each.name == name)

    async def answers() -> bool:
        with suppress(OSError):
            return await get(port) != b""
        return False

    await until(answers)
    processes = [psutil.Process(pid) for pid in crew.processes()]
    next(each for each in processes if f"{name}/program" in " ".join(each.cmdline())).kill()


@pytest.mark.parametrize("reload", [True, False])
async def test_a_program_that_is_killed_is_started_again(crew: Crew, reload: bool) -> None:
    crew.add("fine")
    crew.add("victim")
    supervisor = crew.supervisor(reload=reload)
    await supervisor.start()
    task = await running(supervisor)
    await kill(crew, "victim")
    await until(lambda: any("ready again" in note for note in crew.noted))
    assert crew.noted[0] == "victim was ended by SIGKILL; it is started again"
    assert not any(note.startswith("fine") for note in crew.noted)
    await ended(task)
    await supervisor.stop()
    assert crew.processes() == []


async def test_without_reload_a_program_that_dies_again_and_again_ends_the_run(crew: Crew) -> None:
    crew.add("victim")
    supervisor = crew.supervisor()
    await supervisor.start()
    task = await running(supervisor)
    for number in range(RESTARTS + 1):
        await kill(crew, "victim")
        if number < RESTARTS:
            await until(lambda: sum("ready again" in note for note in crew.noted) > number)  # noqa: B023
    with pytest.raises(ProgramFailedError, match=r"^victim was ended by SIGKILL: serving victim"):
        await asyncio.wait_for(task, 20)
    await supervisor.stop()


async def test_a_program_that_says_it_never_will_start_is_not_started_again(crew: Crew) -> None:
    crew.add("wrong", ANSWERS.replace("serve_forever()", "handle_request(); sys.exit(78)"))
    supervisor = crew.supervisor()
    await supervisor.start()
    with pytest.raises(ProgramFailedError, match="exit status 78") as caught:
        await asyncio.wait_for(supervisor.run(), 20)
    assert caught.value.status == 78
    await supervisor.stop()


async def test_a_reason_that_stays_is_not_waited_for(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devtools.supervisor.HOPELESS_SECONDS", 0.5)
    unready = ANSWERS.replace("200", "503").replace(
        "{word}", '{\\"reason\\": \\"schema_outdated\\"}'
    )
    crew.add("behind", unready)
    supervisor = crew.supervisor()
    with pytest.raises(ProgramFailedError, match=r"^behind is not ready: schema_outdated\.$"):
        await asyncio.wait_for(supervisor.start(), 20)
    await supervisor.stop()


async def test_stopping_leaves_no_grandchild(crew: Crew) -> None:
    forks = "import os, subprocess, sys\nsubprocess.Popen(['sleep', '600'])\n"
    crew.add("parent", forks + ANSWERS)
    supervisor = crew.supervisor()
    await supervisor.start()
    assert len(crew.processes()) == 2
    await supervisor.stop()
    await until(lambda: crew.processes() == [])
    assert not any("was killed" in line for line in crew.heard), "its own end was noticed"


async def test_a_program_that_ignores_the_request_to_end_is_killed(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devtools.program.Process.stop.__defaults__", (0.3,))
    crew.add("deaf", "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + ANSWERS)
    supervisor = crew.supervisor()
    await supervisor.start()
    await supervisor.stop()
    assert crew.processes() == []
    assert any("was killed" in line for line in crew.heard)


async def test_output_without_an_end_of_line_is_shown_too(crew: Crew) -> None:
    crew.add("terse", "import sys\nsys.stdout.write('no newline')\nsys.exit(1)\n")
    supervisor = crew.supervisor()
    with pytest.raises(ProgramFailedError, match="no newline"):
        await supervisor.start()
    await supervisor.stop()
