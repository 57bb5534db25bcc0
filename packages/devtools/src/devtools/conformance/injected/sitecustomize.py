"""Replaces `fastapi.FastAPI` in every Python process of a run, those that tests start included.

Python imports this module by itself when it starts, as the folder is on PYTHONPATH. FastAPI itself
is not imported here: some tests look at what a fresh interpreter has imported.
"""

import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class AfterFastAPI(MetaPathFinder):
    """Calls `conformance_app.replace` as soon as `fastapi` has been imported."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - of the base class
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Find `fastapi` where it is, and add the replacement to the end of its import."""
        if fullname != "fastapi":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            try:
                importlib.import_module("conformance_app").replace()
            except BaseException:  # noqa: BLE001
                # Whoever imports FastAPI once more would get it without the platform, and pass.
                traceback.print_exc()
                os._exit(os.EX_SOFTWARE)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if os.environ.get("CONFORMANCE_ACCELERATION"):
    sys.meta_path.insert(0, AfterFastAPI())
