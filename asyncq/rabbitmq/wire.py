"""The wire: what calls, letters and results are as messages of the server, both ways."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from asyncq.errors import MessageError
from asyncq.ledger import Copy
from asyncq.message import decode_message, terms_of
from asyncq.rabbitmq.delays import Route
from asyncq.rabbitmq.deliveries import Arrival
from asyncq.rabbitmq.frames import Message, call_id
from asyncq.rabbitmq.inbound import Properties
from asyncq.rabbitmq.names import (
    HEADER_CRASHES,
    HEADER_DIED,
    HEADER_DUE,
    HEADER_GENERATION,
    HEADER_REASON,
    HEADER_RECORD,
    HEADER_ROUNDS,
    HEADER_TERMS,
    HEADER_YIELDS,
    Names,
)
from asyncq.rabbitmq.topology import server_priority
from asyncq.store import Notice
from asyncq.terms import Terms, decode_terms, encode_terms
from asyncq.transport import DeadLetter, Delivery, Envelope

Headers = Mapping[str, Any]

MAX_REASON = 10_000
"""Characters. All headers have to fit into one frame, of 128 KB."""
MAX_EXPIRATION_MS = 2**32 - 1
DELIVERED_TOO_OFTEN = "it was delivered again and again, and never settled"
"""The reason of what the server itself has put aside (`x-delivery-limit`)."""

_DELIVERIES = "x-delivery-count"
_DEATHS = "x-death"


class Facts(NamedTuple):
    """What a message says of its call.

    Attributes:
        crashes: how many have died with it, as far as that is known without a store.
        generation: which copy of the call it is, to a ledger.
        rounds: how often it was sent round, because somebody had the call.
        yields: how often, to a ledger, because it is a suspect that nobody was free for.
        terms: what limits have to grant before it runs, to a ledger, as JSON; empty: nothing.
    """

    crashes: int = 0
    generation: int = 0
    rounds: int = 0
    yields: int = 0
    terms: str = ""

    def headers(self) -> dict[str, Any]:
        """Return what it says in headers; each costs, so what is 0, or empty, is left out."""
        return {name: value for name, value in zip(_FACTS, self, strict=True) if value}


NOTHING = Facts()

_FACTS = (HEADER_CRASHES, HEADER_GENERATION, HEADER_ROUNDS, HEADER_YIELDS, HEADER_TERMS)


class Wire:
    """How one namespace writes and reads messages.

    Args:
        names: of the namespace.
        priorities: the largest priority of each queue that has any.
    """

    def __init__(self, names: Names, priorities: Mapping[str, int]) -> None:
        self.names = names
        self._priorities = priorities

    def has_priorities(self, queue: str) -> bool:
        """Tell whether a queue has any."""
        return queue in self._priorities

    def ready(
        self,
        id: str,
        queue: str,
        body: bytes,
        priority: int = 0,
        *,
        facts: Facts = NOTHING,
        is_handed_back: bool = False,
    ) -> Message:
        """Return a call that is due now; handed back, it comes ahead of its priority, where its queue has any."""
        level = server_priority(priority, is_handed_back=is_handed_back and queue in self._priorities)
        return Message(self.names.ready, queue, body, id, None if facts is NOTHING else facts.headers(), level)

    def delayed(
        self,
        id: str,
        queue: str,
        body: bytes,
        priority: int,
        *,
        due_ms: int,
        route: Route,
        facts: Facts = NOTHING,
    ) -> Message:
        """Return a call that goes through the ladder first. It says when it is due, in case it comes too early."""
        level = server_priority(priority, is_handed_back=False)
        headers = {**facts.headers(), HEADER_DUE: due_ms}
        exchange = self.names.level(route.level, is_urgent=route.is_urgent)
        return Message(exchange, route.key(queue), body, id, headers, level)

    def letter(self, delivery: Delivery, reason: str, record: bytes | None, *, died_us: int, ttl_ms: int) -> Message:
        """Return a dead letter: the record stands behind the message, as a header it might be too long for a frame."""
        headers: dict[str, Any] = {HEADER_REASON: reason[:MAX_REASON], HEADER_DIED: died_us}
        if record is not None:
            headers[HEADER_RECORD] = len(record)
        body = delivery.body + (record or b"")
        expiration_ms = max(1, min(ttl_ms, MAX_EXPIRATION_MS))
        return Message(self.names.dead, delivery.queue, body, delivery.id, headers, expiration_ms=expiration_ms)

    def reply(self, address: str, id: str, record: bytes | None) -> Message:
        """Return what tells a process how a call has ended; None: no record is kept."""
        headers = {HEADER_RECORD: False} if record is None else None
        return Message(self.names.replies, address, record or b"", id, headers)

    def delivery(self, arrival: Arrival, token: str, crashes: int) -> Delivery:
        """Return what has arrived as a worker gets it."""
        properties = arrival.properties
        priority = properties.priority // 2
        return Delivery(id_of(properties), arrival.queue, arrival.body, priority, token, crashes)


def copy_of(arrival: Arrival) -> Copy:
    """Return a message as a ledger is asked for it."""
    properties = arrival.properties
    priority, generation = properties.priority // 2, generation_of(arrival)
    return Copy(id_of(properties), arrival.queue, arrival.body, priority, generation, terms=_terms_in(arrival))


def facts_of(copy: Copy) -> Facts:
    """Return what a message says of which a ledger knows this."""
    return Facts(generation=copy.generation, terms="" if copy.terms in (None, Terms()) else encode_terms(copy.terms))


def envelope_in(id: str, body: bytes) -> Envelope | None:
    """Return a message as whoever had its id, or its unique key, would publish it; None: it is none of ours."""
    try:
        message = decode_message(body)
    except MessageError:
        return None
    return Envelope(id, message.queue, body, message.priority, message.due_ms, terms=terms_of(message))


def remembered_facts(arrival: Arrival) -> Facts:
    """Return what a message says on when a ledger knows the rest."""
    headers = arrival.properties.headers
    if not headers:
        return NOTHING
    terms = headers.get(HEADER_TERMS, "")
    numbers = generation_of(arrival), rounds_of(arrival), _number(headers, HEADER_YIELDS)
    return Facts(0, *numbers, terms if isinstance(terms, str) else "")


def rounds_of(arrival: Arrival) -> int:
    """Return how often a message was sent round."""
    headers = arrival.properties.headers
    return _number(headers, HEADER_ROUNDS) if headers else 0


def generation_of(arrival: Arrival) -> int:
    """Return which copy of its call a message is."""
    headers = arrival.properties.headers
    return _number(headers, HEADER_GENERATION) if headers else 0


def id_of(properties: Properties) -> str:
    """Return the id of the call that a message is about."""
    return call_id(properties.message_id, properties.headers)


def crashes_of(arrival: Arrival) -> int:
    """Return how many have died with a message, as far as those can tell who have handed it back."""
    headers = arrival.properties.headers
    return _number(headers, HEADER_CRASHES) if headers else 0


def losses_of(arrival: Arrival) -> int:
    """Return how often somebody was lent a message since it was published and has not settled it, dead or cut off.

    A quorum queue counts that; a classic one knows only whether there was anybody.
    """
    headers = arrival.properties.headers
    return _number(headers, _DELIVERIES) if headers and _DELIVERIES in headers else int(arrival.is_redelivered)


def published_ms(arrival: Arrival) -> int:
    """Return when a call was first published, by the clock of who did that; 0: it does not say."""
    try:
        return decode_message(arrival.body).enqueued_ms
    except MessageError:
        return 0


def due_of(arrival: Arrival) -> int:
    """Return when a message is due; 0: at once."""
    headers = arrival.properties.headers
    return _number(headers, HEADER_DUE) if headers else 0


def letter_in(arrival: Arrival) -> DeadLetter:
    """Return the dead letter that has arrived; one that the server has put aside says little."""
    properties, body = arrival.properties, arrival.body
    headers = properties.headers or {}
    died_us = _number(headers, HEADER_DIED) or _died_us(headers)
    end = len(body) - _number(headers, HEADER_RECORD)
    return DeadLetter(
        id_of(properties),
        arrival.queue,
        body[:end],
        str(headers.get(HEADER_REASON, DELIVERED_TOO_OFTEN)),
        body[end:] if HEADER_RECORD in headers else None,
        died_us // 1000,
        died_us,
    )


def expires_ms(letter: DeadLetter, arrival: Arrival) -> int:
    """Return when a letter's time is over; 0: never."""
    expiration = arrival.properties.expiration
    return letter.died_ms + int(expiration) if expiration else 0


def notice_in(arrival: Arrival) -> Notice:
    """Return what was told of the end of a call."""
    properties = arrival.properties
    has_record = (properties.headers or {}).get(HEADER_RECORD) is not False
    return Notice(id_of(properties), arrival.body if has_record else None, is_over=True)


def _terms_in(arrival: Arrival) -> Terms | None:
    """Return what a message needs; None: nothing, or nothing that can be read: its worker will say what it needs."""
    headers = arrival.properties.headers
    text = headers.get(HEADER_TERMS) if headers else None
    if isinstance(text, str):
        with suppress(msgspec.DecodeError):
            return decode_terms(text)
    return None


def _number(headers: Headers, name: str) -> int:
    value = headers.get(name, 0)
    return value if isinstance(value, int) else 0


def _died_us(headers: Headers) -> int:
    deaths = headers.get(_DEATHS)
    return round(deaths[0]["time"].timestamp() * 1_000_000) if deaths else 0
