"""The command line of the server."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from service_platform.server.listening import ListenError, listen
from service_platform.server.loading import LoadError, load_factory
from service_platform.server.runner import serve
from service_platform.server.workers import supervise
from service_platform.settings import PlatformSettings, load_settings

EXIT_CANNOT_START = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; returns the exit status.

    0 after a clean end, 1 when the service cannot start, 78 when a setting is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m service_platform.server", description=__doc__)
    parser.add_argument("app", nargs="?", help="application factory, such as users.app:create_app")
    parser.add_argument("--host", help="address to listen on (HOST)")
    parser.add_argument("--port", type=int, help="port to listen on (PORT)")
    parser.add_argument("--workers", type=int, help="server processes (WORKERS)")
    parser.add_argument(
        "--gunicorn-conf", action="store_true", help="print the path of gunicorn.conf.py and end"
    )
    options = parser.parse_args(arguments)
    if options.gunicorn_conf:
        print(Path(__file__).parent / "gunicorn.conf.py")  # noqa: T201 - for $(...) of a shell
        return 0
    if options.app is None:
        parser.error("name the application factory, such as users.app:create_app")
    told = {name: getattr(options, name) for name in ("host", "port", "workers")}
    settings = load_settings(
        PlatformSettings, **{name: value for name, value in told.items() if value is not None}
    )
    try:
        load_factory(options.app)
        sockets = listen(settings.host, settings.port)
    except (LoadError, ListenError) as error:
        parser.exit(EXIT_CANNOT_START, f"{error}\n")
    if settings.workers > 1:
        return supervise(options.app, sockets, settings)
    return serve(options.app, sockets)


if __name__ == "__main__":
    raise SystemExit(main())
