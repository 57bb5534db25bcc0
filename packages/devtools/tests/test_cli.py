from local_system import System

from devtools.cli import COMMANDS


def test_help_lists_every_command(system: System) -> None:
    done = system.dev("--help")
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


def test_an_unknown_command_is_an_error(system: System) -> None:
    assert system.dev("nonsense").returncode == 2


def test_arguments_of_other_programs_reach_them(system: System) -> None:
    assert "rotate-keys" in system.dev("auth", "--help").stdout
    assert "-m pytest [options]" in system.dev("test", "--help").stdout
