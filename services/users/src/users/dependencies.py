"""Dependencies of the routes: the caller with the scope or role they need."""

from typing import Annotated

from service_platform.identity import Principal, RequireRole, RequireScope

ProfileReader = Annotated[Principal, RequireScope("users:read")]
ProfileWriter = Annotated[Principal, RequireScope("users:write")]
Admin = Annotated[Principal, RequireRole("admin")]
