"""Runs a service: `python -m service_platform.server items.app:create_app`.

`runner.py` serves in one process and drains it at the end, `workers.py` runs several such processes
on a machine without an orchestrator, `protocol.py` bounds what a connection may send before there
is a request, `gunicorn.conf.py` and `gunicorn_worker.py` are for those who run gunicorn.
"""
