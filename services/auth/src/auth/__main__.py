"""`python -m auth …`: what an operator does, in a pod or on a machine with the service's settings."""

from auth.commands import app

if __name__ == "__main__":
    app(prog_name="python -m auth")
