"""`asyncq unique`: what a person and a program see, and what is refused."""

import json

from asyncq import Broker, Unique
from tests.cli.programs import StartProgram


async def output_of(asyncq: StartProgram, *arguments: str, code: int = 0) -> str:
    """Run `asyncq unique ARGUMENTS...` to its end, and return what it says."""
    program = await asyncq("unique", *arguments)
    assert await program.exits() == code, program.output
    return program.output


async def test_list_and_clear(asyncq: StartProgram, shop: Broker) -> None:
    """Keys are listed with their calls, and cleared by name; what nobody has is said."""

    @shop.task(name="run_import", unique=Unique(by=("customer",)))
    async def run_import(customer: int) -> None: ...

    @shop.task(name="ping", unique=Unique(until=600))
    async def ping(host: str) -> None: ...

    assert await output_of(asyncq, "list", "shop:broker") == "No unique keys.\n"
    first, second = await run_import.kiq(1), await run_import.kiq(2)
    await ping.kiq("a")

    header, *lines = (await output_of(asyncq, "list", "shop:broker", "run_import:")).splitlines()
    assert header.split() == ["KEY", "TAKEN", "ENDS", "QUEUE", "ID"]
    assert [line.split()[0] for line in lines] == ["run_import:1", "run_import:2"]
    assert [line.split()[-3:] for line in lines] == [["-", "default", first.id], ["-", "default", second.id]]
    (only,) = (await output_of(asyncq, "list", "shop:broker", "ping:", "--json")).splitlines()
    facts = json.loads(only)
    assert (facts["key"], facts["queue"]) == ('ping:"a"', "default")
    assert facts["ends_at"] > facts["taken_at"]
    limited = await output_of(asyncq, "list", "shop:broker", "--limit", "2")
    assert "There are more than 2; --limit shows more." in limited

    assert await output_of(asyncq, "clear", "shop:broker", "run_import:1") == "run_import:1: cleared.\n"
    said = await output_of(asyncq, "clear", "shop:broker", "run_import:1", "run_import:2", code=1)
    assert "run_import:1: nobody has it." in said
    assert "run_import:2: cleared." in said
    assert (await run_import.kiq(1)).is_new
