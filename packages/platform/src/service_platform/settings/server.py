"""Settings of the HTTP server: addresses, browsers and proxies in front, bounds, shutdown."""

from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationInfo, field_validator

from service_platform.settings.service import ServiceSettings
from service_platform.settings.value_types import StringList


class HttpSettings(ServiceSettings):
    """Browsers and proxies that requests come from."""

    cors_origins: StringList = Field(
        default_factory=list,
        description="Browser origins allowed to call, comma-separated. localhost in development.",
    )
    cors_allow_credentials: bool = Field(
        False, description="Let browsers send cookies and HTTP authentication cross-origin."
    )
    trusted_proxies: StringList = Field(
        default_factory=list,
        description="Networks (CIDR) whose X-Forwarded-* headers are believed, comma-separated.",
    )

    @field_validator("cors_origins", mode="after")
    @classmethod
    def _origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            if origin != "*" and (
                urlsplit(origin).scheme not in {"http", "https"}
                or origin != "{0.scheme}://{0.netloc}".format(urlsplit(origin))
            ):
                raise ValueError("each must be an origin such as https://app.example.com, or *")
        return value

    @field_validator("cors_allow_credentials", mode="after")
    @classmethod
    def _no_wildcard_with_credentials(cls, value: bool, info: ValidationInfo) -> bool:
        if value and "*" in info.data.get("cors_origins", ()):
            raise ValueError("cannot be true while CORS_ORIGINS is *; name the origins")
        return value

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for network in value:
            try:
                ip_network(network)
            except ValueError:
                raise ValueError("each must be a network such as 10.0.0.0/8") from None
        return value

    @cached_property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`trusted_proxies`, parsed."""
        return tuple(ip_network(network) for network in self.trusted_proxies)


class ServerSettings(ServiceSettings):
    """Where the server listens, what it bears, and how it ends."""

    host: str = Field("0.0.0.0", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(
        1,
        ge=1,
        le=128,
        validation_alias=AliasChoices("workers", "web_concurrency"),
        description="Server processes on one machine; 1 under an orchestrator.",
    )
    acceleration: bool = Field(
        True,
        description="Replace code of FastAPI, uvicorn and SQLAlchemy by faster equivalents.",
    )
    max_body_bytes: int = Field(
        1_048_576, ge=1_024, le=1_073_741_824, description="Larger bodies are refused (413)."
    )
    request_timeout_seconds: float = Field(
        30.0,
        gt=0,
        le=3_600,
        description="A response that has not started by then is given up (504); see @timeout.",
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Connections one process serves; the limit of open files may allow fewer.",
    )
    keep_alive_seconds: float = Field(
        75.0,
        gt=0,
        le=3_600,
        description="A connection without a request is closed after this long; more than proxies'.",
    )
    request_head_timeout_seconds: float = Field(
        10.0, gt=0, le=300, description="Request line and headers must arrive in this time (408)."
    )
    transfer_timeout_seconds: float = Field(
        10.0,
        gt=0,
        le=300,
        description="Span in which a client must send a body, and read an answer, at 240 bytes/s.",
    )
    websocket_max_message_bytes: int = Field(
        1_048_576, ge=1, le=1_073_741_824, description="Larger messages close a WebSocket (1009)."
    )
    websocket_ping_seconds: float = Field(
        20.0, gt=0, le=600, description="Between pings of a WebSocket, and to wait for each answer."
    )
    drain_delay_seconds: float = Field(
        5.0, ge=0, le=300, description="After SIGTERM: unready, but still accepting, this long."
    )
    shutdown_timeout_seconds: float = Field(
        20.0, ge=0, le=3_600, description="Then requests in flight get this long to finish."
    )
    health_check_timeout_seconds: float = Field(
        2.0, gt=0, le=30, description="Budget of each dependency check."
    )
