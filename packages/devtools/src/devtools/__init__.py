"""The `dev` command: run, test, check and look at the whole system on one machine.

`cli.py` lists the commands, one module each. `supervisor.py` is what `up` does; `servers.py`,
`databases.py` and `environment.py` are what it needs first, `state.py` is how the other commands
find what it runs. Never installed in an image.
"""
