"""What `up` shows: steps while it starts, then lines with the name of who wrote them."""

import re
from typing import Final

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from devtools.addresses import without_password, without_user
from devtools.gateway.places import root_certificate_path, url_of
from devtools.services import SERVICES, service_of
from devtools.state import GATEWAY, State
from service_testing.processes import command_of

ORIGIN: Final = "dev"
WIDTH: Final = max(
    len(ORIGIN), len(GATEWAY), *(len(service.worker or service.name) for service in SERVICES)
)
COLOURS: Final = {service.name: service.colour for service in SERVICES}
OTHER_COLOUR: Final = "blue"

_TIME: Final = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} ")
_LEVEL: Final = re.compile(r"\[(debug|info|warning|error|critical)\s*\] ?")
_LEVEL_STYLES: Final = {"warning": "yellow", "error": "red", "critical": "bold red"}
_ORIGIN: Final = re.compile(r" \[[a-z_.]+\]| (request|trace)_id=\S+")
_STATUS: Final = re.compile(r"\bstatus=(\d{3})\b")
_ERROR_LINE: Final = re.compile(r"^(\w+\.)*\w*(Error|Exception)\b")


NARROWEST: Final = 110
"""Columns a table may use at least: a long line is read more easily than half a word."""


def wide_console(*, stderr: bool = False) -> Console:
    """A console that cuts no table short, whether a terminal, a file or a pipe reads it."""
    console = Console(highlight=False, soft_wrap=True, stderr=stderr)
    console.width = max(console.width, NARROWEST)
    return console


def colour_of(name: str) -> str:
    """The colour of a service, or of whatever else writes lines."""
    return COLOURS.get(service_of(name), OTHER_COLOUR)


class Terminal:
    """Where a person reads what happens."""

    def __init__(self, *, stderr: bool = False) -> None:
        self.console = wide_console(stderr=stderr)

    def step(self, what: str, how: str, seconds: float | None = None) -> None:
        """One thing of the start that is done."""
        line = Text("  ").append("✓ ", style="green").append(f"{what:<11}").append(how, "dim")
        if seconds is not None:
            line.append(f"  {seconds:.1f} s", style="dim")
        self.console.print(line)

    def heard(self, name: str, line: str) -> None:
        """A line that a service wrote."""
        self.console.print(self._prefix(name).append_text(styled(line)))

    def noted(self, name: str, text: str) -> None:
        """Something that happened to a service."""
        self.console.print(self._prefix(name).append(f"{text}.", style="bold"))

    def failure(self, sentence: str) -> None:
        """Why it ends."""
        self.console.print(Text("  ").append("✗ ", style="bold red").append(sentence, "bold"))

    def warn(self, sentence: str) -> None:
        """What is missing or probably a mistake."""
        self.console.print(Text("  ").append("! ", style="bold yellow").append(sentence))

    def say(self, sentence: str) -> None:
        """Anything else."""
        self.console.print(Text("  ").append(sentence))

    def overview(self, state: State, hint: str) -> None:
        """The table of what runs, as soon as all of it is ready."""
        self.console.print()
        for line in addresses(state):
            self.console.print(line)
        self.console.print()
        self.console.print(overview(state))
        self.console.print()
        for line in (*servers(state), *job_workers(state), *telemetry(state)):
            self.console.print(line)
        for name, port in state.debugged.items():
            stops = f"breakpoint() waits for a debugger (debugpy) on 127.0.0.1:{port}"
            self.console.print(Text(f"  {name:<12}").append(stops, style="dim"))
        self.console.print()
        for warning in state.warnings:
            self.warn(warning)
        if state.warnings:
            self.console.print()
        ready = Text("  Ready ", style="bold green").append(f"in {state.seconds:.1f} s.", "bold")
        self.console.print(ready.append(f"  {hint}", style="not bold default"))
        self.console.print()

    def _prefix(self, name: str) -> Text:
        padded = f"{name:<{WIDTH}} "
        return Text("  ").append(padded, style=colour_of(name)).append("│ ", style="dim")


def styled(line: str) -> Text:
    """A line of a service's log, its time quiet and what went wrong in colour."""
    text = Text(line)
    if found := _TIME.match(line):
        text.stylize("dim", *found.span())
    if found := _LEVEL.search(line):
        text.stylize(_LEVEL_STYLES.get(found[1], "dim"), *found.span())
    for found in _ORIGIN.finditer(line):
        text.stylize("dim", *found.span())
    for found in _STATUS.finditer(line):
        text.stylize(status_style(int(found[1])), *found.span())
    if line.startswith("Traceback ") or _ERROR_LINE.match(line):
        text.stylize("red")
    return text


def status_style(status: int) -> str:
    """The style of an HTTP status."""
    if status >= 500:
        return "red"
    return "yellow" if status >= 400 else "green"


def overview(state: State) -> Table:
    """Service, address, documentation."""
    table = Table(box=None, padding=(0, 3, 0, 2), header_style="dim")
    for heading in ("service", "URL", "API docs"):
        table.add_column(heading, no_wrap=True)
    for name, service in state.services.items():
        url = f"http://localhost:{service.port}"
        table.add_row(
            Text(name, style=f"bold {COLOURS.get(name, '')}"), _link(url), _link(f"{url}/docs")
        )
    return table


def addresses(state: State) -> list[Text]:
    """The one address for everything, and how a client trusts the encrypted one."""
    gateway, page = state.gateway, state.page
    if gateway is None:
        return []
    line = Text("  ").append_text(_link(url_of(gateway.port), "bold"))
    if state.https_port:
        line.append("  ").append_text(_link(url_of(state.https_port, "https"), "bold"))
    if gateway.pid:
        line.append("  all services, as behind the gateway of production", "dim")
    else:
        line.append(f"  {gateway.detail or 'starts again'}; see ./dev logs gateway", "red")
    lines = [line]
    if page is not None and not page.pid:
        why = page.detail or "starts again"
        lines.append(Text(f"  The front page: {why}; see ./dev logs page", "red"))
    if state.https_port:
        trusting = f"curl --cacert {root_certificate_path()} {url_of(state.https_port, 'https')}"
        lines.append(Text("  Trust its certificate: ").append(trusting, "dim"))
    return lines


def servers(state: State) -> list[Text]:
    """Where PostgreSQL and Redis are, and whose they are."""
    lines = []
    for product, url in (("PostgreSQL", state.postgres_url), ("Valkey", state.redis_url)):
        if not url:
            continue
        name, style = product, "dim"
        if product not in state.local:
            name = product.replace("Valkey", "Redis")
            whose = f"not started here ({state.sources.get(product)})"
        elif command_of(pid := state.servers.get(product, 0)):
            whose = f"process {pid}"
        else:
            whose, style = f"process {pid} has ended", "red"
        lines.append(Text(f"  {name:<12}").append(f"{without_password(url)}  {whose}", style))
    return lines


def job_workers(state: State) -> list[Text]:
    """What runs the jobs of the services that have some."""
    lines = []
    for name, worker in state.job_workers.items():
        alive = f"process {worker.pid}" if worker.pid else worker.detail or "starts again"
        style = "dim" if worker.pid else "red"
        lines.append(Text(f"  {'Jobs':<12}").append(f"{name}  {alive}", style))
    return lines


def telemetry(state: State) -> list[Text]:
    """Where the services' spans go and how they are seen; nothing when they go nowhere."""
    if not state.otlp_endpoint:
        return []
    receiver, url = state.receiver, without_user(state.otlp_endpoint)
    if receiver is None:
        return [Text(f"  {'OTLP':<12}").append(f"{url}  not started here (--otlp)", "dim")]
    alive = f"process {receiver.pid}" if receiver.pid else receiver.detail or "starts again"
    line = Text(f"  {'OTLP':<12}").append(f"{url}  {alive}", "dim" if receiver.pid else "red")
    if state.otlp_forward_to:
        line.append(f", passed on to {without_user(state.otlp_forward_to)}", "dim")
    return [line, Text("  Traces: ./dev trace --slowest")]


def _link(url: str, style: str = "") -> Text:
    return Text(url, style=Style.parse(style) + Style(link=url))
