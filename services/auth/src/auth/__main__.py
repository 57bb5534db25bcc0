"""`python -m auth …`: what an operator does, in a pod or wherever the settings are."""

from auth.commands import app

if __name__ == "__main__":
    app(prog_name="python -m auth")
