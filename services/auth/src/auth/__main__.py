"""Runs the operator commands: `python -m auth …`."""

from auth.commands import app

if __name__ == "__main__":
    app(prog_name="python -m auth")
