"""From `app:broker` on the command line to the broker, with errors that say what to do."""

import inspect
import os
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType, TracebackType

from asyncq.broker import Broker
from asyncq.errors import ConfigurationError, MissingExtra, near_names

WANTED = "APP is module:attribute, for example 'app:broker' for the broker of app.py"


class ImportFailed(Exception):
    """A module of the user's raised while it was imported; the cause is what it raised, with the user's frames only."""


def put_first_on_path(folder: Path) -> None:
    """Have imports look in this folder before anywhere else."""
    sys.path.insert(0, str(folder))


def load_broker(app: str, folder: Path) -> Broker:
    """Return the broker that APP names.

    Args:
        app: `module:attribute`; the attribute may be dotted, or a function without arguments that returns a broker.
        folder: where the module is looked for first.

    Raises:
        ConfigurationError: APP names no broker that workers of other processes can share.
        ImportFailed: its module raised.
    """
    name, path = split_app(app)
    module = load_module(name, folder)
    broker = _called(_attribute(module, path), app, module)
    if not isinstance(broker, Broker):
        raise ConfigurationError(f"{app!r} is {_kind(broker)}, not a broker.{_brokers_in(module)}")
    if not broker.capabilities.is_shared:
        raise ConfigurationError(
            f"{app!r} is a {type(broker).__name__}, which lives in the process that made it: a worker here would never "
            'see its tasks. Use SQLiteBroker("asyncq.db") or RedisBroker(url), or run a Worker in that process.'
        )
    return broker


def split_app(app: str) -> tuple[str, str]:
    """Return module and attribute. Raises ConfigurationError when it is not spelled so."""
    module, colon, attribute = app.partition(":")
    if not colon or not module or not attribute:
        raise ConfigurationError(f"{WANTED}; got {app!r}.")
    if os.sep in module or module.endswith(".py"):
        dotted = module.removesuffix(".py").strip("./").replace(os.sep, ".")
        raise ConfigurationError(f"{WANTED}; got a file, {app!r}. Try '{dotted}:{attribute}'.")
    return module, attribute


def load_module(name: str, folder: Path) -> ModuleType:
    """Import a module of the user's.

    Raises:
        ConfigurationError: there is none of that name.
        MissingExtra: it uses a broker whose client library is not installed.
        ImportFailed: it raised.
    """
    try:
        return import_module(name)
    except MissingExtra:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ConfigurationError(_not_found(name, error.name, folder)) from None
        raise _failed(f"Importing {name!r} failed.", error) from error


def _failed(sentence: str, error: BaseException) -> ImportFailed:
    error.__traceback__ = users_frames(error.__traceback__)
    return ImportFailed(sentence)


def users_frames(trace: TracebackType | None) -> TracebackType | None:
    """Cut off the frames before the user's own: ours and those of the import system."""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file != __file__ and "importlib" not in file:
            break
        trace = trace.tb_next
    return trace


def _not_found(name: str, missing: str, folder: Path) -> str:
    parent = missing.rpartition(".")[0]
    if not parent:
        where = f"Looked in {folder} first (--app-dir names another folder), then among the installed packages."
        return f"There is no module {name!r}. {where}{near_names(missing, _modules_in([str(folder)]))}"
    paths = getattr(sys.modules.get(parent), "__path__", None)
    if paths is None:
        return f"There is no module {name!r}: {parent!r} is a module, not a package."
    near = near_names(missing, (f"{parent}.{each}" for each in _modules_in(paths)))
    return f"There is no module {missing!r} in the package {parent!r} ({', '.join(paths)}).{near}"


def _modules_in(paths: Iterable[str]) -> list[str]:
    return [module.name for module in pkgutil.iter_modules(list(paths))]


def _attribute(module: ModuleType, path: str) -> object:
    found: object = module
    reached = module.__name__
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            hint = near_names(name, (known for known in dir(found) if not known.startswith("_")))
            raise ConfigurationError(f"{reached!r} has no attribute {name!r}.{hint}{_brokers_in(module)}") from None
        reached += f".{name}"
    return found


def _called(found: object, app: str, module: ModuleType) -> object:
    """Return what a factory makes; anything else as it is."""
    if not (inspect.isroutine(found) or inspect.isclass(found)):
        return found
    try:
        inspect.signature(found).bind()
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{app!r} is {_kind(found)} that needs arguments. It must be a broker, or return one when called with none."
            f"{_brokers_in(module)}"
        ) from None
    try:
        made = found()
    except MissingExtra:
        raise
    except Exception as error:
        raise _failed(f"Calling {app!r} failed.", error) from error
    if inspect.iscoroutine(made):
        made.close()
        raise ConfigurationError(f"{app!r} is a coroutine function. A broker needs no await: make it a plain function.")
    return made


def _kind(found: object) -> str:
    if inspect.isclass(found):
        return f"the class {found.__name__}"
    if inspect.isroutine(found):
        return "a function"
    return f"of type {type(found).__name__}"


def _brokers_in(module: ModuleType) -> str:
    names: Sequence[str] = [name for name, value in vars(module).items() if isinstance(value, Broker)]
    return f" Brokers in {module.__name__!r}: {', '.join(map(repr, names))}." if names else ""
