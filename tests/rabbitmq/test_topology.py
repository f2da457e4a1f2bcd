"""What is declared on the server."""

import json

from asyncq.rabbitmq import delays
from asyncq.rabbitmq.names import Names
from asyncq.rabbitmq.topology import Binding, Queue, Topology, definitions, is_urgent_at, server_priority, text

ALL = delays.rungs_up_to(delays.LEVELS - 1)
TOPOLOGY = Topology(Names("shop"), {"urgent": 9})


def test_nothing_that_holds_messages_expires() -> None:
    """Only queues of replies have `x-expires`: to the server, publishing is not using."""
    declarations = [*TOPOLOGY.queue("mail"), *TOPOLOGY.queue("urgent"), *TOPOLOGY.ladder(ALL)]
    queues = [part for part in declarations if isinstance(part, Queue)]
    assert len({queue.name for queue in queues}) == 5 + 14 * 3
    assert not [queue for queue in queues if "x-expires" in dict(queue.arguments)]
    (replies,) = (part for part in TOPOLOGY.reply("7f") if isinstance(part, Queue))
    assert dict(replies.arguments) == {"x-queue-type": "classic", "x-expires": 600_000}


def test_a_ladder_leads_down() -> None:
    """From each level one goes to the next, past its queues; from each queue, too, by its dead letters."""
    ladder = TOPOLOGY.ladder([delays.Rung(2, 3), delays.Rung(0, 3)])
    queues = {part.name: dict(part.arguments) for part in ladder if isinstance(part, Queue) and ":delay:" in part.name}
    assert {
        name: (arguments["x-message-ttl"], arguments["x-dead-letter-exchange"]) for name, arguments in queues.items()
    } == {
        "asyncq:shop:delay:768": (3 * 4 * 4 * 16, "asyncq:shop:delay:64"),
        "asyncq:shop:delay:48": (3 * 16, "asyncq:shop:delay"),
    }
    passing = {
        part.source: part.destination for part in ladder if isinstance(part, Binding) and part.kind == "exchange"
    }
    assert passing == {
        "asyncq:shop:delay:256": "asyncq:shop:delay:64",
        "asyncq:shop:delay:64": "asyncq:shop:delay:16",
        "asyncq:shop:delay:16": "asyncq:shop:delay",
    }


def test_what_is_urgent_has_a_ladder_of_its_own() -> None:
    """Calls of a priority that RabbitMQ 4.0 puts before others wait apart from them, until they are due."""
    assert [is_urgent_at(priority) for priority in range(10)] == [False] * 3 + [True] * 7
    assert [Topology(Names("shop"), {"urgent": most}).has_urgent for most in (2, 3)] == [False, True]
    ladder = TOPOLOGY.ladder([delays.Rung(1, 3, is_urgent=True), delays.Rung(0, 3)])
    queues = {part.name: dict(part.arguments) for part in ladder if isinstance(part, Queue) and ":delay:" in part.name}
    assert {name: arguments["x-dead-letter-exchange"] for name, arguments in queues.items()} == {
        "asyncq:shop:delay:48": "asyncq:shop:delay",
        "asyncq:shop:delay:urgent:192": "asyncq:shop:delay:urgent:16",
    }
    passing = [part.source for part in ladder if isinstance(part, Binding) and part.kind == "exchange"]
    assert passing == ["asyncq:shop:delay:16", "asyncq:shop:delay:urgent:16", "asyncq:shop:delay:urgent:64"]


def test_the_longest_wait_is_one_that_the_server_takes() -> None:
    """No queue has a time to live that needs more than 32 bits."""
    assert max(rung.wait_ms for rung in ALL) < 2**32


def test_a_queue_with_priorities_has_a_level_above_each() -> None:
    """Priorities 0 to 9 are the even ones of 20; the odd ones are for what was handed back."""
    (queue,) = (part for part in TOPOLOGY.queue("urgent") if isinstance(part, Queue) and part.name.endswith("urgent"))
    assert dict(queue.arguments) == {"x-queue-type": "classic", "x-max-priority": 19}
    order = [server_priority(priority, is_handed_back=back) for priority in (0, 1, 9) for back in (False, True)]
    assert order == [0, 1, 2, 3, 18, 19]


def test_text_names_everything() -> None:
    """An operator can read what to declare."""
    lines = text(TOPOLOGY.queue("mail")).splitlines()
    assert "direct exchange 'asyncq:shop'" in lines
    assert "topic exchange 'asyncq:shop:delay' with alternate-exchange=asyncq:shop:stray" in lines
    assert "queue 'asyncq:shop:q:mail:dead' with x-queue-type=quorum, x-delivery-limit=2147483647" in lines
    assert "binding from exchange 'asyncq:shop' to queue 'asyncq:shop:q:mail' by 'mail'" in lines


def test_definitions_name_the_virtual_host() -> None:
    """Each part of what is imported says where it belongs."""
    parts = json.loads(definitions(TOPOLOGY.queue("mail"), "/shop"))
    assert {name: len(part) for name, part in parts.items()} == {"exchanges": 5, "queues": 3, "bindings": 4}
    assert {part["vhost"] for name in parts for part in parts[name]} == {"/shop"}
