"""A service whose migrations a test writes itself."""

from pathlib import Path

from service_platform.revisions import revisions_of

SHOP_MIGRATIONS = Path(__file__).parent / "shop" / "migrations"


def make(parent: Path) -> Path:
    """Make the package `growing` in a folder; returns the folder of its migrations."""
    package = parent / "growing"
    versions = package / "migrations" / "versions"
    versions.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "migrations" / "__init__.py").touch()
    template = (SHOP_MIGRATIONS / "script.py.mako").read_text()
    (package / "migrations" / "script.py.mako").write_text(template)
    (package / "migrations" / "env.py").write_text(
        "from service_platform.database import new_metadata\n"
        "from service_platform.database.alembic_env import run\n\n"
        "run(new_metadata())\n"
    )
    return versions


def write(versions: Path, number: int, body: str) -> None:
    """Write a migration that follows the one before."""
    revisions_of.cache_clear()
    parent = f"'{number - 1:04d}'" if number > 1 else "None"
    (versions / f"{number:04d}_step.py").write_text(
        f"from alembic import op\n\nrevision = '{number:04d}'\ndown_revision = {parent}\n\n\n"
        f"def upgrade() -> None:\n    {body}\n"
    )
