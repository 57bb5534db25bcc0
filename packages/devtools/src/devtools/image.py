"""`./dev image`: build the container images of the services from `infra/docker/Dockerfile`."""

import os
import shutil
import subprocess
import tomllib
from typing import Annotated

import typer

from devtools.errors import CommandError, no_such
from devtools.project import ROOT
from devtools.services import SERVICES
from devtools.workspace import workspace


def image(
    services: Annotated[list[str] | None, typer.Argument(help="Which; all when none.")] = None,
    *,
    target: Annotated[
        str, typer.Option(help="Stage of the Dockerfile: production, or dev (reloads).")
    ] = "production",
    tag: Annotated[str, typer.Option(help="Tag of WORKSPACE/NAME.")] = "dev",
    network: Annotated[
        str, typer.Option(help="Network of the build steps, passed to docker build.")
    ] = "default",
) -> None:
    """Build container images named WORKSPACE/NAME:TAG, after `[tool.workspace]`."""
    names = service_names()
    for name in services or ():
        if name not in names:
            raise no_such("service", name, names)
    docker = docker_command()
    if docker is None:
        raise CommandError(
            "There is no Docker client with BuildKit and a running engine; install or start one."
        )
    for name in services or names:
        typer.echo(f"{workspace().image(name)}:{tag} ({target})")
        if build(docker, name, target=target, tag=tag, network=network):
            raise typer.Exit(1)


def service_names() -> list[str]:
    """The names of all services."""
    return [service.name for service in SERVICES]


def docker_command() -> str | None:
    """A Docker client that has BuildKit and an engine to talk to; None when there is none.

    `$DOCKER` names one; else it is the first on the PATH that will do.
    """
    named = os.environ.get("DOCKER")
    directories = os.get_exec_path()
    found = [named] if named else [shutil.which("docker", path=each) for each in directories]
    return next((client for client in found if client and _can_build(client)), None)


def _can_build(docker: str) -> bool:
    """Clients before 23 have BuildKit built in, later ones as the plugin buildx."""
    version = _output([docker, "version", "--format", "{{.Client.Version}}"])
    return bool(version) and (
        int(version.partition(".")[0]) < 23 or bool(_output([docker, "buildx", "version"]))
    )


def build(docker: str, service: str, *, target: str, tag: str, network: str = "default") -> int:
    """Build one image; the exit status of docker."""
    arguments = {
        "SERVICE": service,
        "VERSION": tomllib.loads((ROOT / f"services/{service}/pyproject.toml").read_text())[
            "project"
        ]["version"],
        "REVISION": _revision(),
    }
    command = [docker, "build", "--file", str(ROOT / "infra/docker/Dockerfile")]
    command += [
        "--target",
        target,
        "--tag",
        f"{workspace().image(service)}:{tag}",
        "--network",
        network,
    ]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    return subprocess.run(  # noqa: S603 - our own Dockerfile
        [*command, str(ROOT)], env=environment, check=False
    ).returncode


def _revision() -> str:
    git = shutil.which("git")
    return (git and _output([git, "-C", str(ROOT), "rev-parse", "HEAD"])) or "unknown"


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:  # $DOCKER names a file that is not there
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
