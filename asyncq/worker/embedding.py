"""The pool of a worker that is embedded in a program: how its processes find the program's tasks.

They import what declares the tasks. The command line has a way of its own, which imports what it names.
"""

import logging
import sys
from collections.abc import Sequence
from importlib import import_module

import msgspec

from asyncq.broker import Broker
from asyncq.errors import ConfigurationError
from asyncq.modules import lasting_name
from asyncq.worker.pooled import PoolLine, serve
from asyncq.worker.poolprocess import PoolCharge

_START = f"import sys; sys.path[:] = sys.argv[3:]; from {__name__} import main; main(*sys.argv[1:3])"


class Address(msgspec.Struct, frozen=True):
    """Where another process of the same program finds a broker.

    Attributes:
        module, name: of the broker.
        modules: those that declare its tasks.
        log_level: of the program.
    """

    module: str
    name: str
    modules: list[str]
    log_level: int


def embedded_command(broker: Broker, charge: PoolCharge) -> Sequence[str]:
    """Return what starts a process of the pool for a broker of this program. Raises ConfigurationError."""
    address = msgspec.json.encode(address_of(broker)).decode()
    return [sys.executable, "-c", _START, str(charge), address, *sys.path]


def address_of(broker: Broker) -> Address:
    """Return where another process finds this broker.

    Raises:
        ConfigurationError: no module has it, or one of its tasks for processes is declared inside a function.
    """
    tasks = [task for task in broker.tasks.values() if task.runs_in == "process"]
    for task in tasks:
        if "<locals>" in task.function.__qualname__:
            raise ConfigurationError(
                f"Task {task.name!r} runs in a process of its own, which imports the module that declares it. "
                "It is declared inside a function: move it to the level of its module."
            )
    module, name = _place_of(broker)
    return Address(
        module=module,
        name=name,
        modules=sorted({lasting_name(task.function.__module__) for task in tasks}),
        log_level=logging.getLogger().getEffectiveLevel(),
    )


def _place_of(broker: Broker) -> tuple[str, str]:
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is broker:
                return lasting_name(module.__name__), name
    raise ConfigurationError(
        f'No module has {broker!r} under a name, so that processes for runs_in="process" could not find it. '
        "Make it at the level of a module: broker = ..."
    )


def main(charge: str, address: str) -> None:
    """Be a process of the pool: import what declares the tasks, and take calls."""
    line = PoolLine(PoolCharge.parse(charge))
    line.secure()
    there = msgspec.json.decode(address, type=Address)
    broker = getattr(import_module(there.module), there.name)
    for module in there.modules:
        import_module(module)
    logging.basicConfig(level=there.log_level)  # unless the application has set it up while it was imported
    serve(broker, line)
