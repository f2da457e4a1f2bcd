"""The comparing: how what a server has differs from what a topology asks for. Nothing is made."""

from collections.abc import Sequence
from typing import NamedTuple

from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from asyncq.errors import ConfigurationError
from asyncq.rabbitmq.declaring import OpenChannel, absent_of, declare, for_each
from asyncq.rabbitmq.topology import Binding, Declaration


class Comparison(NamedTuple):
    """What was found. Bindings are not among it: the server shows them to nobody.

    Attributes:
        present: what is there.
        absent: what is not.
        differing: how something that is there differs, in a few sentences each.
        is_guess: whether the user of the URL may not declare all that is there, and so cannot see what differs.
    """

    present: Sequence[Declaration]
    absent: Sequence[Declaration]
    differing: Sequence[str]
    is_guess: bool


async def compare(open_channel: OpenChannel, wanted: Sequence[Declaration]) -> Comparison:
    """Compare the exchanges and queues among `wanted` with those of the server. Raises what aiormq raises."""
    wanted = [part for part in wanted if not isinstance(part, Binding)]
    missing = await absent_of(open_channel, wanted)
    present = [part for part in wanted if part not in missing]
    differing: list[str] = []
    forbidden: list[Declaration] = []

    async def set_beside(channel: AbstractChannel, part: Declaration) -> None:
        """Declare what is there already: that changes nothing, and is refused where it has other arguments."""
        try:
            await declare(channel, part)
        except ConfigurationError as error:
            if isinstance(error.__cause__, ChannelAccessRefused):
                forbidden.append(part)
            else:
                differing.append(str(error))

    await for_each(open_channel, set_beside, present)
    return Comparison(present, [part for part in wanted if part in missing], differing, bool(forbidden))
