"""Arguments of a call: checked against the signature and made ready for JSON, and back."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any

from asyncq.errors import DecodeError
from asyncq.serializers.conversion import Conversion, conversion_for
from asyncq.serializers.hints import hints_of
from asyncq.serializers.plain import LARGEST, SMALLEST, problem_with

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class ArgumentCodec:
    """Sends and receives the arguments of one function. Reads its signature and annotations once.

    A call by position of plain values, the usual one, is not bound, converted or copied.

    Args:
        function: the task's.
        injected: names of parameters that the worker fills: no caller gives them, and they do not travel.
    """

    def __init__(self, function: Callable[..., object], *, injected: Collection[str] = ()) -> None:
        self._name = function.__name__
        hints = hints_of(function)
        parameters = [each for each in inspect.signature(function).parameters.values() if each.name not in injected]
        self._signature = Signature(parameters)
        self._conversions: dict[str, Conversion | None] = {
            each.name: conversion_for(hints.get(each.name)) for each in parameters
        }
        self._var_positional = _named(parameters, Parameter.VAR_POSITIONAL)
        self._var_keyword = _named(parameters, Parameter.VAR_KEYWORD)
        self._positional = [each.name for each in parameters if each.kind in _BY_POSITION]
        self._by_name = bool(injected)  # an injected parameter may stand before others: positions would shift
        self._fewest, self._most = _counts(parameters)
        self.is_plain = not any(self._conversions.values())
        self._is_simple = self.is_plain and not self._var_positional and not self._by_name

    def encode(
        self, args: tuple[Any, ...], kwargs: Mapping[str, object]
    ) -> tuple[Sequence[object], Mapping[str, object]]:
        """Return the arguments as JSON has them; the same objects where nothing is to be converted.

        Raises:
            TypeError: they do not fit the signature, or one of them would not come back equal; names the parameter.
        """
        if kwargs or not self.is_plain or not self._fewest <= len(args) <= self._most:
            return self._encode_bound(args, kwargs)
        for value in args:
            kind = type(value)  # pyright: ignore[reportUnknownVariableType] - whatever the caller gave
            if kind is str:
                if value.isascii():
                    continue
            elif kind is int:
                if SMALLEST <= value <= LARGEST:
                    continue
            elif value is None or kind is bool:
                continue
            if problem_with(value) is not None:
                return self._encode_bound(args, kwargs)
        return args, kwargs

    def decode(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[object], dict[str, object]]:
        """Return what the function is to be called with.

        Raises:
            DecodeError: the arguments do not fit the function as it is now; says which, and what was expected.
        """
        if self._is_simple and not kwargs and self._fewest <= len(args) <= self._most:
            return args, {}
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise DecodeError(
                f"{self._name}() {error}; the message gives {len(args)} by position and {sorted(kwargs)} by name. "
                "Does the producer run another version of the code?"
            ) from error
        if self.is_plain and not self._by_name:
            return bound.args, bound.kwargs
        for name, value in bound.arguments.items():
            bound.arguments[name] = self._received(name, value)
        return self._shaped(bound) if self._by_name else (bound.args, bound.kwargs)

    def bound(self, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
        """Return all arguments by name, defaults included. Raises TypeError when they do not fit."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def _encode_bound(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> tuple[Sequence[object], Mapping[str, object]]:
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._name}() {error}") from None
        named = [*self._positional[: len(args)], *[self._var_positional] * (len(args) - len(self._positional))]
        sent = [self._sent(name, value) for name, value in zip(named, args, strict=True)]
        known = self._conversions
        return sent, {
            name: self._sent(name if name in known else self._var_keyword, value, name)
            for name, value in kwargs.items()
        }

    def _sent(self, parameter: str, value: object, said: str = "") -> object:
        conversion = self._conversions[parameter]
        if conversion is None:
            problem = problem_with(value)
            if problem is not None:
                raise TypeError(f"{self._name}() argument {(said or parameter)!r} {problem}.")
            return value
        try:
            return conversion.encode(value)
        except TypeError as error:
            raise TypeError(f"{self._name}() argument {(said or parameter)!r} {error}.") from error

    def _received(self, name: str, value: Any) -> object:
        conversion = self._conversions[name]
        if conversion is None:
            return value
        try:
            if name == self._var_positional:
                return tuple(conversion.decode(each) for each in value)
            if name == self._var_keyword:
                return {key: conversion.decode(each) for key, each in value.items()}
            return conversion.decode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise DecodeError(f"{self._name}() argument {name!r} is no {conversion}: {error}") from error

    def _shaped(self, bound: inspect.BoundArguments) -> tuple[Sequence[object], dict[str, object]]:
        """Return the arguments by name wherever the signature lets them be given so."""
        args: list[object] = []
        kwargs: dict[str, object] = {}
        for name, value in bound.arguments.items():
            kind = self._signature.parameters[name].kind
            if kind is Parameter.POSITIONAL_ONLY:
                args.append(value)
            elif kind is Parameter.VAR_POSITIONAL:
                args.extend(value)
            elif kind is Parameter.VAR_KEYWORD:
                kwargs.update(value)
            else:
                kwargs[name] = value
        return args, kwargs


def _named(parameters: Sequence[Parameter], kind: object) -> str:
    """Return the name of the parameter of this kind; empty where there is none."""
    return next((each.name for each in parameters if each.kind is kind), "")


def _counts(parameters: Sequence[Parameter]) -> tuple[int, float]:
    """Return how few and how many arguments a call by position alone may have; (1, 0): there is no such call."""
    if any(each.kind is Parameter.KEYWORD_ONLY and each.default is Parameter.empty for each in parameters):
        return 1, 0
    positional = [each for each in parameters if each.kind in _BY_POSITION]
    required = sum(each.default is Parameter.empty for each in positional)
    is_open = any(each.kind is Parameter.VAR_POSITIONAL for each in parameters)
    return required, float("inf") if is_open else len(positional)
