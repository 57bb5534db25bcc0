"""Runs a service: `python -m service_platform.server users.app:create_app`.

`runner.py` serves in one process and drains it at the end, `workers.py` runs several such processes
on a machine without an orchestrator, `gunicorn_worker.py` and `gunicorn.conf.py` are for those who
run gunicorn. `connection.py` is one HTTP/1.1 connection, `states.py` its states and their bounds,
`websocket.py` a connection that was upgraded.
"""
