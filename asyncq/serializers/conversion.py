"""Conversion by annotation: what JSON does not have, as what it has."""

from contextlib import suppress
from typing import Any

import msgspec
from msgspec.inspect import Type

from asyncq.serializers.equality import is_same
from asyncq.serializers.flaws import named, scalar_flaw_in
from asyncq.serializers.foreign import rebuilt, sendable
from asyncq.serializers.json import dumps, loads
from asyncq.serializers.shape import has_set


class Conversion:
    """Converts values of one annotation: dataclasses, datetimes, UUIDs, decimals, enums, bytes, tuples, sets, models.

    Args:
        annotation: what msgspec can tell apart in JSON.
        text: what messages call it.
        shape: what msgspec says of it.
        verb: what the user does with a value: "pass" or "return".
    """

    __slots__ = ("_decoder", "_has_set", "_text", "_verb")

    def __init__(self, annotation: Any, text: str, shape: Type, verb: str) -> None:
        self._text = text
        self._verb = verb
        self._decoder = msgspec.json.Decoder(annotation, dec_hook=rebuilt)
        self._has_set = has_set(shape)

    def encode(self, value: object) -> object:
        """Return the value as JSON has it. Raises TypeError with the rest of the sentence that says why it cannot."""
        try:
            data = dumps(self._simplified(value))
            back = self._decoder.decode(data)
            if is_same(value, back):
                return loads(data)
        except Exception as error:  # constructors, validators and == are the user's, and may raise anything
            raise TypeError(self._refusal(value, f"does not fit {self}: {reason_of(error)}")) from error
        changed = "changed" if type(back) is type(value) else f"as {named(back)}"
        raise TypeError(self._refusal(value, f"would come back {changed} through {self}"))

    def decode(self, sent: object) -> Any:
        """Return the value that JSON stands for; raise whatever the user's own types raise where it stands for none."""
        return self._decoder.decode(dumps(sent))

    def __str__(self) -> str:
        return self._text

    def _simplified(self, value: object) -> object:
        if self._has_set:
            # Two processes keep one set in two orders: sorted, the same call is the same message wherever it is made.
            with suppress(TypeError):  # a set of what has no order, such as enums
                return msgspec.to_builtins(value, str_keys=True, enc_hook=sendable, order="deterministic")
        return msgspec.to_builtins(value, str_keys=True, enc_hook=sendable)

    def _refusal(self, value: object, why: str) -> str:
        try:
            flaw = scalar_flaw_in(value)
        except Exception:  # a value that holds itself, or an attribute that raises: it was refused for that
            flaw = None
        if flaw is None:
            return f"is {named(value)} that {why}"
        return f"{flaw}: {self._verb} {flaw.instead}"


def reason_of(error: Exception) -> str:
    """Return what an error says, with its class unless it is msgspec's own, whose text says it all."""
    try:
        text = str(error)
    except Exception as fault:  # the class may be the user's
        text = f"its text raised {type(fault).__name__}"
    return text if isinstance(error, msgspec.MsgspecError) and text else f"{type(error).__name__}: {text}"
