"""Fixtures with which each test of a file has an application, a database and a Redis for itself."""

from service_testing.plugin import app, client, database_url, redis_url, service_environment

__all__ = ["app", "client", "database_url", "redis_url", "service_environment"]
