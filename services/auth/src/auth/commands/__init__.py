"""Commands for operators: clients, signing keys, admins, ending sessions, the audit log.

Results go to standard output, logs to standard error. They take their settings from the
environment like the service, so they work in one of its pods.
"""

import typer

from auth.commands import accounts, audit, clients, keys

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Operate auth: clients, signing keys, admins, revocation, the audit log.",
)
for subject in (clients.app, keys.app, accounts.app):
    app.add_typer(subject)
app.add_typer(audit.app, name="audit")

__all__ = ["app"]
