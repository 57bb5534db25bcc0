"""What a folder declares is read exactly, and a mistake in it is one sentence."""

from pathlib import Path

import pytest

from service_testing.declarations import Declaration, declarations, next_port
from service_testing.errors import DeclarationError

PROJECT = '[project]\nname = "x-service"\ndescription = "Things that are sold."\n'


def declare(root: Path, name: str, table: str, project: str = PROJECT) -> None:
    folder = root / "services" / name
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(f"{project}\n{table}")


def refusal(root: Path) -> str:
    with pytest.raises(DeclarationError) as told:
        declarations(root)
    return str(told.value)


def test_services_are_read_in_the_order_of_their_ports(tmp_path: Path) -> None:
    declare(tmp_path, "orders", '[tool.service]\nport = 8004\nscopes = ["orders:read"]\n')
    declare(tmp_path, "auth", '[tool.service]\nport = 8003\npublishes = ["auth"]\n')
    auth, orders = declarations(tmp_path)
    assert auth == Declaration(
        name="auth", description="Things that are sold.", port=8003, publishes=("auth",)
    )
    assert (orders.name, orders.port, orders.scopes) == ("orders", 8004, ("orders:read",))


def test_a_folder_without_a_project_is_no_service(tmp_path: Path) -> None:
    (tmp_path / "services" / "left-over").mkdir(parents=True)
    assert declarations(tmp_path) == ()


@pytest.mark.parametrize(
    ("name", "table", "said"),
    [
        ("orders", "", "services/orders/pyproject.toml has no table [tool.service]"),
        ("orders", "[tool.service]\n", "services/orders/pyproject.toml, port: Field required."),
        ("orders", '[tool.service]\nport = "8004"\n', "port: Input should be a valid integer."),
        ("orders", "[tool.service]\nport = 80\n", "port: Input should be greater than or equal to"),
        ("orders", "[tool.service]\nport = 8004\nprot = 1\n", "prot: Extra inputs are not"),
        ("orders", "[tool.service]\nport =\n", "services/orders/pyproject.toml is not TOML"),
        ("my_orders", "[tool.service]\nport = 8004\n", "name: 'my_orders' must be such as orders."),
        (
            "orders",
            '[tool.service]\nport = 8004\nscopes = ["Orders read"]\n',
            "scopes.0: 'Orders read' must be such as orders:read.",
        ),
        (
            "orders",
            '[tool.service]\nport = 8004\npaths = ["/a\\n- path: /"]\n',
            "paths.0: '/a\\n- path: /' must be such as /.well-known.",
        ),
        (
            "orders",
            '[tool.service]\nport = 8004\nneeds.stock = "has no goods"\n',
            "orders needs stock, but there is no folder services/stock.",
        ),
        (
            "orders",
            '[tool.service]\nport = 8004\nhears = ["stock"]\n',
            "orders hears stock, but no service publishes it.",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, name: str, table: str, said: str) -> None:
    declare(tmp_path, name, table)
    assert said in refusal(tmp_path)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("port = 8004", "2 services declare the port 8004; it can be of one only."),
        ('port = {}\npaths = ["/hooks"]', "2 services declare the path /hooks"),
        ('port = {}\npublishes = ["stock"]', "2 services declare the stream stock"),
    ],
)
def test_two_services_cannot_have_the_same(tmp_path: Path, table: str, said: str) -> None:
    for at, name in enumerate(("orders", "stock")):
        declare(tmp_path, name, f"[tool.service]\n{table.format(8004 + at)}\n")
    assert said in refusal(tmp_path)


def test_the_next_port_is_the_first_that_is_free(tmp_path: Path) -> None:
    for name, port in (("users", 8001), ("auth", 8003)):
        declare(tmp_path, name, f"[tool.service]\nport = {port}\n")
    assert next_port(declarations(tmp_path)) == 8002
    assert next_port(()) == 8001


def test_a_workspace_with_every_port_taken_says_so() -> None:
    taken = [
        Declaration(name="x", description="One of many.", port=port) for port in range(8001, 8400)
    ]
    with pytest.raises(DeclarationError, match="all ports from 8001 to 8399"):
        next_port(taken)
