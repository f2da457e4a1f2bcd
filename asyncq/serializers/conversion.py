"""Conversion by annotation: what JSON does not have, as what it has."""

from typing import Any

import msgspec
import orjson

from asyncq.serializers.plain import is_plain


class Conversion:
    """Converts values of one annotation: dataclasses, datetimes, UUIDs, decimals, enums, bytes, tuples, sets, models.

    Models of pydantic are known by their methods, `model_dump` and `model_validate`; the library is never imported.
    """

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation
        # Raises TypeError for an annotation that JSON leaves ambiguous, such as `UUID | str`.
        msgspec.json.Decoder(annotation, dec_hook=_model_from)

    def encode(self, value: object) -> object:
        """Return the value as JSON has it. Raises TypeError with the reason when it would not come back equal."""
        try:
            sent = msgspec.to_builtins(value, str_keys=True, enc_hook=_model_to)
            back = self.decode(orjson.loads(orjson.dumps(sent)))
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"is a {type(value).__name__} that does not fit {self}: {error}") from error
        if back != value:
            raise TypeError(f"is a {type(value).__name__} that would come back as {back!r} through {self}")
        return sent

    def decode(self, sent: object) -> Any:
        """Return the value that JSON stands for. Raises ValueError when it stands for none."""
        return msgspec.convert(sent, self._annotation, str_keys=True, dec_hook=_model_from)

    def __str__(self) -> str:
        return getattr(self._annotation, "__name__", None) or str(self._annotation)


def conversion_for(annotation: Any) -> Conversion | None:
    """Return the conversion that an annotation asks for; None: plain values, or an annotation that says nothing."""
    if is_plain(annotation):
        return None
    try:
        return Conversion(annotation)
    except TypeError:
        return None


def _model_to(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"a {value.__class__.__name__} cannot be sent")
    return dump(mode="json")


def _model_from(kind: Any, sent: Any) -> Any:
    validate = getattr(kind, "model_validate", None)
    if validate is None:
        raise TypeError(f"a {getattr(kind, '__name__', kind)} cannot be received")
    return validate(sent)
