"""Finds the jobs of an application."""

from service_platform.app import ServiceApp
from service_platform.jobs.worker import JobWorker


class NoJobsError(Exception):
    """An application has no jobs; the message says what to add."""


def find_worker(app: ServiceApp, path: str) -> JobWorker:
    """Return the worker among the resources of an application.

    Args:
        app: of the service.
        path: of its factory, for the message.

    Raises:
        NoJobsError: there is none.
    """
    for resource in app.lifecycle.resources:
        if isinstance(resource, JobWorker):
            return resource
    raise NoJobsError(f"{path} has no jobs; add a JobWorker to its resources.")


__all__ = ["NoJobsError", "find_worker"]
