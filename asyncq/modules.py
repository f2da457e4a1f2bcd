"""Modules by the name that they have in every process: the program that was started is `__main__` only in its own."""

import sys
from pathlib import Path
from types import ModuleType


def lasting_name(module: str) -> str:
    """Return the name under which other processes import a module; that of `__main__` is its file's."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name.removesuffix(".__main__")
    return Path(getattr(main, "__file__", None) or "__main__").stem


def loaded_module(name: str) -> ModuleType | None:
    """Return the module of this name where this process has loaded it, also as `__main__`; never import it."""
    return sys.modules.get(name) or (sys.modules["__main__"] if lasting_name("__main__") == name else None)
