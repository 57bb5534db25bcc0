"""Traces of the local system: received over OTLP/HTTP, kept in SQLite, shown on a terminal.

`receiver` (a program of its own) decodes what services send (`otlp`), keeps it (`store`) and passes
it on where that is asked for (`forwarding`). `exporting` says what `./dev up` gives to services and
receiver. `./dev trace` reads the store: `tree` and `waterfall` show one trace, `trace_table` many,
`trace_logs` the log lines of a trace.
"""
