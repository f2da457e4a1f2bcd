"""The parameters that callers of a function fill, and which calls fit them."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature

from asyncq.errors import ConfigurationError

BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class _Names:
    """What names a call must, may and must not give beside so many arguments by position."""

    required: frozenset[str]
    allowed: frozenset[str]
    taken: frozenset[str]


class CallSignature:
    """A function's parameters without those that the worker fills.

    `inspect.Signature.bind` gives the same verdict and takes ten times as long: too much for every call.

    Args:
        function: the task's.
        injected: names of the parameters that the worker fills, by name.

    Attributes:
        function_name: what messages call the function.
        injected: as given.
        parameters: in the order of the signature.
        by_position: names of those that can be given by position.
        by_name: names of those that can be given by name.
        var_positional: name of `*args`; empty where there is none.
        var_keyword: name of `**kwargs`; empty where there is none.
        most: how many arguments by position there can be.

    Raises:
        ConfigurationError: the worker could not fill a parameter without shifting those behind it.
    """

    def __init__(self, function: Callable[..., object], injected: Collection[str] = ()) -> None:
        every = list(signature(function).parameters.values())
        self.function_name = function.__name__
        self.injected = frozenset(injected)
        self.parameters = [each for each in every if each.name not in injected]
        self.by_position = tuple(each.name for each in self.parameters if each.kind in BY_POSITION)
        self.by_name = frozenset(each.name for each in self.parameters if each.kind in BY_NAME)
        self.var_positional = _name_of(self.parameters, Parameter.VAR_POSITIONAL)
        self.var_keyword = _name_of(self.parameters, Parameter.VAR_KEYWORD)
        self.most = float("inf") if self.var_positional else len(self.by_position)
        self._fewest = sum(each.kind is Parameter.POSITIONAL_ONLY and is_required(each) for each in self.parameters)
        self._names = [self._names_beside(count) for count in range(len(self.by_position) + 1)]
        self._unshifted = _count_before_injected(every, self.injected)
        self._check_injected(every)

    def fits(self, count: int, kwargs: Mapping[str, object]) -> bool:
        """Tell whether a call with so many arguments by position and these by name fits."""
        if not self._fewest <= count <= self.most:
            return False
        names = self._names[count if count < len(self._names) else -1]
        if not kwargs:
            return not names.required
        given = kwargs.keys()
        if not names.required <= given:
            return False
        return names.taken.isdisjoint(given) if self.var_keyword else given <= names.allowed

    def bound(self, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
        """Return all arguments of a call that fits, by name, in the order of the signature, defaults included."""
        bound: dict[str, object] = dict(zip(self.by_position, args, strict=False))
        for index, parameter in enumerate(self.parameters):
            name = parameter.name
            if parameter.kind is Parameter.VAR_POSITIONAL:
                bound[name] = tuple(args[index:])
            elif parameter.kind is Parameter.VAR_KEYWORD:
                bound[name] = {key: value for key, value in kwargs.items() if key not in self.by_name}
            elif name not in bound:
                bound[name] = kwargs[name] if name in self.by_name and name in kwargs else parameter.default
        return bound

    def without_gaps(
        self, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> tuple[Sequence[object], dict[str, object]]:
        """Return a call that fits in the form that leaves room for what the worker fills.

        Arguments that stand behind an injected parameter are given by name. The names are in a new dict.
        """
        behind = zip(self.by_position[self._unshifted :], args[self._unshifted :], strict=False)
        return args if self.var_positional else args[: self._unshifted], {**dict(behind), **kwargs}

    def _names_beside(self, count: int) -> _Names:
        given = frozenset(self.by_position[:count])
        required = frozenset(each.name for each in self.parameters if each.kind in BY_NAME and is_required(each))
        return _Names(required - given, self.by_name - given, (given & self.by_name) | self.injected)

    def _check_injected(self, every: Sequence[Parameter]) -> None:
        for each in every:
            can_be_named = each.kind is Parameter.KEYWORD_ONLY or (each.kind in BY_NAME and not self.var_positional)
            if each.name in self.injected and not can_be_named:
                raise ConfigurationError(
                    f"{self.function_name}(): the worker fills {each.name!r} by name, where an argument by position "
                    "may already be. Make it keyword-only: behind `*` or `*args`."
                )


def is_required(parameter: Parameter) -> bool:
    """Tell whether a call must give the parameter."""
    return parameter.default is Parameter.empty and parameter.kind in BY_POSITION + BY_NAME


def _name_of(parameters: Iterable[Parameter], kind: object) -> str:
    return next((each.name for each in parameters if each.kind is kind), "")


def _count_before_injected(parameters: Sequence[Parameter], injected: Collection[str]) -> int:
    names = [each.name for each in parameters if each.kind in BY_POSITION]
    return next((index for index, name in enumerate(names) if name in injected), len(names))
