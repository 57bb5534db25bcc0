"""The ways to run a service, as they are documented; `exec` so that signals reach it directly."""

PLATFORM = "exec python -m service_platform.server waiting:make"
TWO_WORKERS = f"{PLATFORM} --workers 2"
GUNICORN = (
    'exec gunicorn -c "$(python -m service_platform.server --gunicorn-conf)" "waiting:make()"'
)
WITHOUT_ACCELERATION = (
    "exec python -c \"import sys; sys.modules['service_platform.acceleration'] = None; "
    "from service_platform.server.__main__ import main; sys.exit(main(['waiting:make']))\""
)
"""As if the package were not there."""
