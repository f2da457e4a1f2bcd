"""Makes the virtual environments that the peers live in."""

import asyncio
import sys
from collections.abc import Iterable

from bench.lineup import Environment


async def make(environments: Iterable[Environment]) -> None:
    """Create what is missing or was made from other versions; leave the rest alone."""
    for environment in environments:
        if not _is_current(environment):
            print(f"bench: installing {environment.name} in {environment.folder}; once.", flush=True)
            await _create(environment)


async def versions(environment: Environment) -> list[str]:
    """Return what is installed, as `name==version`."""
    return (await _run("-m", "pip", "--python", _python(environment), "list", "--format=freeze")).split()


def _is_current(environment: Environment) -> bool:
    stamp = environment.folder / "made-from"
    return stamp.exists() and stamp.read_text() == _made_from(environment)


async def _create(environment: Environment) -> None:
    # pip installs into another environment: Debian's Python cannot give each one a pip of its own.
    await _run("-m", "venv", "--clear", "--without-pip", str(environment.folder))
    await _run("-m", "pip", "--python", _python(environment), "install", "--quiet", *environment.requirements)
    (environment.folder / "made-from").write_text(_made_from(environment))


async def _run(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}:\n{errors.decode()}")
    return output.decode()


def _python(environment: Environment) -> str:
    return str(environment.programs / "python")


def _made_from(environment: Environment) -> str:
    return "\n".join([str(environment.folder), sys.version, *environment.requirements])
