import socket

import pytest

from devtools.gateway.places import listening_addresses, wanted_port
from devtools.gateway.starting import TRUSTED, before, choose_ports
from devtools.state import State
from service_testing.ports import free_port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_taken_on_either_loopback_address_is_not_used(host: str) -> None:
    port = free_port()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as taken:
        try:
            taken.bind((host, port))
        except OSError:
            pytest.skip(f"This machine does not have {host}.")
        taken.listen()
        assert wanted_port(port) != port
    assert wanted_port(port) == port


def test_only_this_machine_reaches_it() -> None:
    assert set(listening_addresses(8000)) <= {"127.0.0.1:8000", "[::1]:8000"}


def test_another_port_than_the_usual_one_is_warned_of() -> None:
    system = State(pid=1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        usual = taken.getsockname()[1]
        choose_ports(system, offset=usual - 8000, https=False)
    assert system.gateway is not None
    assert system.gateway.port != usual
    (warning,) = system.warnings
    assert f"has port {usual}, so the gateway is on {system.gateway.port} this time" in warning
    assert "--port-offset 100" in warning
    assert system.https_port == 0


@pytest.mark.parametrize(
    ("told", "believed"),
    [
        ({}, TRUSTED),
        ({"TRUSTED_PROXIES": ""}, TRUSTED),
        ({"TRUSTED_PROXIES": "10.0.0.0/8"}, f"10.0.0.0/8,{TRUSTED}"),
        ({"TRUSTED_PROXIES": f"{TRUSTED},10.0.0.0/8"}, f"{TRUSTED},10.0.0.0/8"),
    ],
)
def test_services_believe_the_gateway_besides_whom_they_believe(
    told: dict[str, str], believed: str
) -> None:
    assert before({**told, "PORT": "1"}) == {"TRUSTED_PROXIES": believed, "PORT": "1"}
