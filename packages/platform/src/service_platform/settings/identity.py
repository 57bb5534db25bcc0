"""Settings of access tokens: who issues them, and what is demanded of them."""

from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from service_platform.settings.service import ServiceSettings


class IdentitySettings(ServiceSettings):
    """The issuer of access tokens, and the service's own credentials there."""

    access_token_expire_minutes: int = Field(
        10, ge=1, le=60, description="Lifetime of an access token; revocations are kept as long."
    )
    jwt_issuer: str = Field(
        "http://localhost:8003",
        pattern=r"^https?://\S+[^/]$",
        description="Public address of auth: the `iss` of its tokens.",
    )
    jwt_audience: str = Field("", description="Audience required of tokens. Default: PROJECT_NAME.")
    jwt_algorithm: Literal["ES256", "RS256"] = Field(
        "ES256", description="The one signature algorithm accepted (and, in auth, used)."
    )
    auth_url: str = Field(
        "http://localhost:8003",
        pattern=r"^https?://\S+[^/]$",
        description="Where services reach auth inside the cluster.",
    )
    service_client_id: str = Field(
        "", description="Client id of this service for calls to others (client credentials)."
    )
    service_client_secret: SecretStr = Field(
        SecretStr(""), description="Client secret of this service for calls to others."
    )

    @field_validator("jwt_audience", mode="after")
    @classmethod
    def _audience_is_the_project(cls, value: str, info: ValidationInfo) -> str:
        return value or str(info.data.get("project_name", ""))
