"""The problem answered while no key is available to verify tokens."""

from service_platform.errors import ServiceUnavailable


class KeysUnavailable(ServiceUnavailable):
    """The keys that verify access tokens could not be fetched from the auth service.

    Nothing is known to be wrong with the token: try again after `Retry-After`.
    """

    slug = "keys-unavailable"
    title = "Tokens cannot be verified"
    default_message = "Access tokens cannot be verified for the moment. Try again later."
