"""`asyncq check`: what people and programs see, and how it ends."""

import json
from pathlib import Path

import pytest

from tests.cli.programs import StartProgram
from tests.cli.shop import ON_BOTH, write_app
from tests.servers import HOST, StartRedis, free_port


@pytest.mark.parametrize("url", ["rabbitmq with a store"], indirect=True)
async def test_all_is_well(asyncq: StartProgram, url: str, namespace: str) -> None:
    """Where nobody has to do anything the command ends with 0: a line says where, and one each what was looked at."""
    program = await asyncq("check", "shop:broker")

    assert await program.exits() == 0, program.output
    first, *lines = program.output.splitlines()
    assert first.startswith(f"{url.replace('guest:guest', 'guest:***')} with store sqlite:///")
    assert first.endswith(f", namespace {namespace}")
    assert {line.split()[0] for line in lines} <= {"ok", "note"}
    assert {line.split()[1] for line in lines} == {"server", "topology", "alarm", "store:", "consumer_timeout"}


async def test_something_is_wrong(asyncq: StartProgram, folder: Path, namespace: str, own_redis: StartRedis) -> None:
    """A warning ends with 1, and with --json each finding is one object a line."""
    write_app(folder, own_redis("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru").url, namespace)

    program = await asyncq("check", "shop:broker", "--json")

    assert await program.exits() == 1
    findings = [json.loads(line) for line in program.output.splitlines()]
    assert {"severity": "warning", "about": "memory"}.items() <= findings[1].items()
    assert findings[1]["text"].startswith("The server evicts keys")


async def test_a_file_of_no_use(asyncq: StartProgram, folder: Path, namespace: str) -> None:
    """A file that cannot be used is an error, and ends with 1."""
    write_app(folder, f"sqlite:///{folder}/nowhere/queue.db", namespace)

    program = await asyncq("check", "shop:broker")

    assert await program.exits() == 1
    assert "error    server  The folder of the database file" in program.output


async def test_definitions_need_no_server(asyncq: StartProgram, folder: Path, namespace: str) -> None:
    """The definitions name each queue of the application and the virtual host, whether or not there is a server."""
    write_app(folder, f"amqp://{HOST}:{free_port()}/eu%2Fshop", namespace)

    program = await asyncq("check", "shop:broker", "--definitions")

    assert await program.exits() == 0
    definitions = json.loads(program.output)
    names = [queue["name"] for queue in definitions["queues"]]
    assert {f"asyncq:{namespace}:q:{queue}" for queue in ("default", "mail", "mail:dead")} <= set(names)
    assert {part["vhost"] for kind in definitions.values() for part in kind} == {"eu/shop"}


@pytest.mark.parametrize("url", ON_BOTH, indirect=True)
async def test_definitions_of_what_needs_none(asyncq: StartProgram) -> None:
    """Where nothing has to be declared, that is said, and ends with 2."""
    program = await asyncq("check", "shop:broker", "--definitions")

    assert await program.exits() == 2
    assert program.output.endswith("Broker nothing has to be declared.\n")
