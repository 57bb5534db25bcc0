"""What a job takes and returns, read from its function; stored as JSON and checked when read."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NotRequired, cast, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

MAX_MISTAKES = 5


class JobDefinitionError(Exception):
    """A job is declared wrongly; the message says what to change."""


class JobArgumentsError(Exception):
    """Arguments do not fit the function of the job; the message has no values."""


class JobTooLargeError(Exception):
    """The arguments or the result of a job have more bytes than it may have."""


class JobSignature:
    """The parameters of a job's function beside the context, and what it returns.

    Args:
        name: of the job.
        function: of the job.
        max_bytes: limit of the arguments, and of the result, as JSON.

    Raises:
        JobDefinitionError: the function cannot be a job.
    """

    def __init__(self, name: str, function: Callable[..., Any], max_bytes: int) -> None:
        if not inspect.iscoroutinefunction(function):
            raise JobDefinitionError(
                f"{name} must be an `async def`; blocking code belongs in a thread."
            )
        self._name = name
        self._max_bytes = max_bytes
        hints = get_type_hints(function, include_extras=True)
        _, *parameters = inspect.signature(function).parameters.values()
        fields: dict[str, Any] = {}
        for each in parameters:
            if each.kind in {each.VAR_POSITIONAL, each.VAR_KEYWORD, each.POSITIONAL_ONLY}:
                raise JobDefinitionError(f"{name} must name each of its arguments: not {each}.")
            if each.name not in hints:
                raise JobDefinitionError(f"{name} must tell the type of its argument {each.name}.")
            hint = hints[each.name]
            fields[each.name] = hint if each.default is each.empty else NotRequired[hint]
        arguments = cast("Any", TypedDict)(f"{name}_arguments", fields)
        arguments.__pydantic_config__ = ConfigDict(extra="forbid")
        self._parameters = inspect.Signature(parameters)
        self._arguments: TypeAdapter[dict[str, Any]] = TypeAdapter(arguments)
        self._result: TypeAdapter[Any] = TypeAdapter(hints.get("return", Any))

    def required(self) -> list[str]:
        """Return the names of the arguments without a default."""
        parameters = self._parameters.parameters.values()
        return [each.name for each in parameters if each.default is each.empty]

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Check arguments and encode them as a JSON object.

        Raises:
            JobArgumentsError: they do not fit the function.
            JobTooLargeError: they have too many bytes.
        """
        try:
            given = self._parameters.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise JobArgumentsError(f"The arguments of {self._name} are wrong: {error}.") from None
        return self._encoded("arguments", self._arguments, self.decode(given))

    def decode(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Check arguments that are stored.

        Raises:
            JobArgumentsError: they do not fit the function, which may have changed since.
        """
        try:
            return dict(self._arguments.validate_python(dict(arguments)))
        except ValidationError as error:
            mistakes = error.errors(include_url=False, include_input=False, include_context=False)
            listed = "; ".join(
                f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
                for each in mistakes[:MAX_MISTAKES]
            )
            raise JobArgumentsError(f"The arguments of {self._name} are wrong: {listed}.") from None

    def encode_result(self, result: Any) -> bytes:
        """Encode what the function returned.

        Raises:
            JobTooLargeError: it has too many bytes.
        """
        return self._encoded("result", self._result, result)

    def _encoded(self, what: str, adapter: TypeAdapter[Any], value: Any) -> bytes:
        encoded = adapter.dump_json(value)
        if len(encoded) > self._max_bytes:
            raise JobTooLargeError(
                f"The {what} of {self._name} would have {len(encoded)} bytes, more than "
                f"{self._max_bytes}: store large data where it belongs and pass its id."
            )
        return encoded


__all__ = ["JobArgumentsError", "JobDefinitionError", "JobSignature", "JobTooLargeError"]
