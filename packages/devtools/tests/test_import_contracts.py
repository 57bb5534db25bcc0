"""Every service is held to the import contracts without being listed."""

import tomllib
from typing import Any

from devtools.import_contracts import configuration, expanded


def contracts(*names: str) -> dict[str, Any]:
    options = tomllib.loads(configuration(names))["tool"]["importlinter"]
    return {each["name"]: each for each in options["contracts"]} | {"roots": options}


def test_services_take_the_place_of_the_placeholder() -> None:
    found = contracts("auth", "orders")
    assert {"auth", "orders"} < set(found["roots"]["root_packages"])
    independent = found["Services import the platform and never each other"]
    assert independent["modules"] == ["auth", "orders"]
    assert "SERVICES" not in configuration(["auth", "orders"])


def test_what_is_no_list_stays() -> None:
    assert expanded({"a": "SERVICES", "b": [["SERVICES"], True]}, ["x", "y"]) == {
        "a": "SERVICES",
        "b": [["x", "y"], True],
    }


def test_entities_of_services_are_held_to_the_layers_too() -> None:
    layers = contracts("auth", "orders")[
        "In services and entities: routes, then service, then repository, then models"
    ]
    assert layers["containers"] == ["auth", "orders", "auth.*", "orders.*"]
