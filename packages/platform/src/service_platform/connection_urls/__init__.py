"""Parses connection URLs of PostgreSQL and Redis, checks them, shows them without secrets.

PostgreSQL's are read as libpq reads them, with its parameters in the query; Redis' as redis-py
does.
What a URL asks for is either done or refused by name: a parameter that is silently ignored would be
noticed when it is too late.
"""

from service_platform.connection_urls.parts import ConnectionUrlError
from service_platform.connection_urls.postgres import PostgresUrl
from service_platform.connection_urls.redis import RedisUrl

__all__ = ["ConnectionUrlError", "PostgresUrl", "RedisUrl"]
