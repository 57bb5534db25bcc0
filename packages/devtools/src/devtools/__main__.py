"""`python -m devtools` is the `dev` command."""

from devtools.cli import main

if __name__ == "__main__":
    main()
