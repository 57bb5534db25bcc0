"""The `dev` command: run, test, check and look at the whole system on one machine."""
