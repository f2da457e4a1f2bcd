"""The holding: what a consumer without a ledger has, and has had, so that what comes again is known."""

from collections import OrderedDict

from asyncq.rabbitmq.deliveries import Arrival
from asyncq.transport import Delivery

MAX_ENDED = 5_000
"""How many of the latest ends are remembered: their acknowledgements may be lost with the connection."""


class Holding:
    """The deliveries that one consumer was lent and has not settled, by token.

    When a channel ends, the server lends again what was delivered on it, maybe to the very consumer that still runs it
    and has not died. Such a copy takes the place of the delivery that was lost, and is not run. What has ended is
    remembered for a while, and its copy is acknowledged. A message is known by its own id and its body, in which there
    is the moment of its publication: an id that a caller chose may be another call's.
    """

    def __init__(self) -> None:
        self._arrivals: dict[str, Arrival] = {}
        self._tokens: dict[str, str] = {}  # by the message's id
        self._ending: set[str] = set()
        self._ended: OrderedDict[tuple[str, int], None] = OrderedDict()  # message's id, hash of its body

    def put(self, delivery: Delivery, arrival: Arrival) -> None:
        """Take note of what is lent."""
        self._arrivals[delivery.token] = arrival
        self._tokens[arrival.properties.message_id] = delivery.token

    def begin(self, token: str) -> Arrival | None:
        """Return what was lent under a token, and is about to end; None: it has ended, or is about to."""
        if token in self._ending:
            return None
        arrival = self._arrivals.get(token)
        if arrival is not None:
            self._ending.add(token)
        return arrival

    def disown(self, token: str) -> None:
        """Do not know it when it comes again: it has to be run."""
        message_id = self._arrivals[token].properties.message_id
        if self._tokens.get(message_id) == token:
            del self._tokens[message_id]

    def give_up(self, token: str) -> None:
        """Take note that something has not ended after all."""
        self._ending.discard(token)

    def end(self, token: str) -> Arrival:
        """Forget what has begun to end; return it as it came last."""
        self._ending.discard(token)
        self.disown(token)
        return self._arrivals.pop(token)

    def end_well(self, token: str, *, is_final: bool) -> bool:
        """Acknowledge what has begun to end; return whether the server can hear of that.

        Args:
            token: of the delivery.
            is_final: nothing with this id and body comes again, unless it is this very message.
        """
        arrival = self.end(token)
        if is_final:
            self._ended[arrival.properties.message_id, hash(arrival.body)] = None
            if len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)
        arrival.acknowledge()
        return not arrival.is_lost

    def take_all(self) -> list[Arrival]:
        """Return all that is not about to end; nothing of it can end any more."""
        return [self.end(token) for token in [*self._arrivals] if token not in self._ending]

    def recognise(self, arrival: Arrival) -> bool:
        """Tell whether a message is one that runs here, or has ended here, and has come again: it is not to be run."""
        token = self._tokens.get(arrival.properties.message_id)
        if token is not None:
            held = self._arrivals[token]
            if held.is_lost and held.body == arrival.body:
                self._arrivals[token] = arrival
                return True
        if (arrival.properties.message_id, hash(arrival.body)) in self._ended:
            arrival.acknowledge()
            return True
        return False
