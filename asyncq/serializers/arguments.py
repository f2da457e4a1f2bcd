"""Arguments of a call: checked against the signature and made ready for JSON, and back."""

from collections.abc import Callable, Collection, Mapping, Sequence
from inspect import Parameter
from typing import Any, cast

from asyncq.errors import DecodeError
from asyncq.serializers.annotations import Annotations, Passage
from asyncq.serializers.conversion import reason_of
from asyncq.serializers.misfit import misfit
from asyncq.serializers.plain import Plain, are_scalars
from asyncq.serializers.signature import CallSignature

_WHENCE = "Was the message published by another version of the code, or by hand?"
_NAME = Plain("it is a name", "rename it", "use")
"""What passes the names that `**kwargs` takes: the caller's own, of any text."""

_STARS = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}


class ArgumentCodec:
    """Sends and receives the arguments of one function. Reads its signature and annotations once.

    Usual calls, of plain scalars, are checked and passed on as they are: no binding, no conversion, no copy.

    Args:
        function: the task's.
        injected: names of parameters that the worker fills: no caller gives them, and they do not travel.

    Attributes:
        is_plain: no parameter needs conversion.

    Raises:
        ConfigurationError: an injected parameter stands where the worker could not fill it.
    """

    def __init__(self, function: Callable[..., object], *, injected: Collection[str] = ()) -> None:
        self._signature = CallSignature(function, injected)
        self._name = function.__name__
        annotations = Annotations(function)
        passages = {each.name: _passage_of(each, annotations) for each in self._signature.parameters}
        self._passages = passages
        self._by_position = [(name, passages[name]) for name in self._signature.by_position]
        self._by_name = {name: passages[name] for name in self._signature.by_name}
        self._var_positional = (self._signature.var_positional, passages.get(self._signature.var_positional, _NAME))
        self._var_keyword = passages.get(self._signature.var_keyword, _NAME)
        self._has_injected = bool(injected)
        self.is_plain = all(isinstance(each, Plain) for each in passages.values())

    def encode(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> tuple[Sequence[object], Mapping[str, object]]:
        """Return the arguments as JSON has them; the same objects where nothing is to be converted.

        Raises:
            TypeError: they do not fit the signature, or one of them would not come back equal; names the parameter.
        """
        if not self._signature.fits(len(args), kwargs):
            raise TypeError(f"{misfit(self._signature, len(args), kwargs)}.")
        if self.is_plain and are_scalars(args) and (not kwargs or self._are_scalars(kwargs)):
            return args, kwargs
        places = zip(self._places(args), args, strict=True)
        sent = [self._sent(name, passage, value) for (name, passage), value in places]
        if not kwargs:
            return sent, kwargs
        return sent, {self._sent_name(name): self._sent(name, self._named(name), kwargs[name]) for name in kwargs}

    def decode(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Sequence[object], dict[str, object]]:
        """Return what the function is to be called with, beside what the worker fills by name.

        Raises:
            DecodeError: the arguments do not fit the function as it is now; says which, and what was expected.
        """
        if not self._signature.fits(len(args), kwargs):
            raise DecodeError(f"{misfit(self._signature, len(args), kwargs)}. {_WHENCE}")
        if not self.is_plain:
            places = zip(self._places(args), args, strict=True)
            args = [self._received(name, passage, sent) for (name, passage), sent in places]
            if kwargs:
                kwargs = {name: self._received(name, self._named(name), sent) for name, sent in kwargs.items()}
        return self._signature.without_gaps(args, kwargs) if self._has_injected else (args, kwargs)

    @property
    def parameters(self) -> Sequence[str]:
        """The names of the parameters that callers fill, in the order of the signature."""
        return list(self._passages)

    @property
    def names(self) -> Sequence[str]:
        """The same without `**kwargs`: what a function of all arguments by name is called with at least."""
        return [name for name in self._passages if name != self._signature.var_keyword]

    def named(self, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
        """Return the arguments of a call that fits, by name, those that `**kwargs` takes among them."""
        named = self._signature.bound(args, kwargs)
        further = named.pop(self._signature.var_keyword, None)
        return named | further if isinstance(further, dict) else named  # pyright: ignore[reportUnknownVariableType]

    def bound(self, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
        """Return all arguments by name, defaults included. Raises TypeError when they do not fit."""
        if not self._signature.fits(len(args), kwargs):
            raise TypeError(f"{misfit(self._signature, len(args), kwargs)}.")
        return self._signature.bound(args, kwargs)

    def sent_by_name(self, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
        """Return all arguments by name, defaults included, as JSON has them.

        Raises:
            TypeError: they do not fit, or one of them would not come back equal.
        """
        sent: dict[str, object] = {}
        for name, value in self.bound(args, kwargs).items():
            passage = self._passages[name]
            if name == self._var_positional[0]:
                sent[name] = [self._sent(name, passage, each) for each in cast("tuple[object, ...]", value)]
            elif name == self._signature.var_keyword:
                several = cast("Mapping[str, object]", value)
                sent[name] = {key: self._sent(key, passage, several[key]) for key in several}
            else:
                sent[name] = self._sent(name, passage, value)
        return sent

    def _are_scalars(self, kwargs: Mapping[str, object]) -> bool:
        return are_scalars(kwargs.values()) and (not self._signature.var_keyword or are_scalars(kwargs))

    def _places(self, args: Sequence[object]) -> Sequence[tuple[str, Passage]]:
        beyond = len(args) - len(self._by_position)
        return self._by_position[: len(args)] if beyond <= 0 else self._by_position + [self._var_positional] * beyond

    def _named(self, name: str) -> Passage:
        return self._by_name.get(name, self._var_keyword)

    def _sent(self, name: str, passage: Passage, value: object) -> object:
        try:
            return passage.encode(value)
        except TypeError as error:
            raise TypeError(f"{self._name}() argument {name!r} {error}.") from error.__cause__

    def _sent_name(self, name: str) -> Any:
        return name if name in self._by_name else self._sent(name, _NAME, name)

    def _received(self, name: str, passage: Passage, sent: object) -> object:
        try:
            return passage.decode(sent)
        except Exception as error:  # constructors and validators are the user's, and may raise anything
            raise DecodeError(
                f"{self._name}() argument {name!r} is no {passage}: {reason_of(error)}. {_WHENCE}"
            ) from error


def _passage_of(parameter: Parameter, annotations: Annotations) -> Passage:
    declared = f"{_STARS.get(parameter.kind, '')}{parameter.name}"
    return annotations.parameter(parameter.name, declared, may_be_none=parameter.default is None)
