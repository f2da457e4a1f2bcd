"""Why a call does not fit a signature, in the words of Python, which finds out only by making the call."""

from collections.abc import Mapping, Sequence
from inspect import Parameter

from asyncq.errors import near_names
from asyncq.serializers.signature import BY_POSITION, CallSignature, is_required


def misfit(signature: CallSignature, count: int, kwargs: Mapping[str, object]) -> str:
    """Return what is wrong with a call that does not fit: the first thing that Python would name, without a full stop.

    Args:
        signature: of the function called.
        count: how many arguments are given by position.
        kwargs: those given by name.
    """
    complaint = (
        _misnamed(signature, count, kwargs) or _too_many(signature, count, kwargs) or _missing(signature, count, kwargs)
    )
    return f"{signature.function_name}() {complaint}"


def _misnamed(signature: CallSignature, count: int, kwargs: Mapping[str, object]) -> str:
    given = signature.by_position[:count]
    for name in kwargs:
        if name in signature.injected:
            return f"got {name!r}, which no caller gives: the worker fills it"
        if name in signature.by_name:
            if name in given:
                return f"got multiple values for argument {name!r}"
        elif not signature.var_keyword:
            return _unknown(signature, name, kwargs)
    return ""


def _unknown(signature: CallSignature, name: str, kwargs: Mapping[str, object]) -> str:
    nameless = [each for each in signature.by_position if each not in signature.by_name and each in kwargs]
    if nameless:
        return f"got some positional-only arguments passed as keyword arguments: {', '.join(nameless)!r}"
    return f"got an unexpected keyword argument {name!r}.{near_names(name, signature.by_name)}".rstrip(".")


def _too_many(signature: CallSignature, count: int, kwargs: Mapping[str, object]) -> str:
    if count <= signature.most:
        return ""
    most, fewest = len(signature.by_position), len(_required_by_position(signature))
    takes = (
        f"{most} positional argument{_s(most)}" if fewest == most else f"from {fewest} to {most} positional arguments"
    )
    keyword_only = len((signature.by_name - set(signature.by_position)) & kwargs.keys())
    beside = f" positional argument{_s(count)} (and {keyword_only} keyword-only argument{_s(keyword_only)})"
    were = "was" if count == 1 and not keyword_only else "were"
    return f"takes {takes} but {count}{beside if keyword_only else ''} {were} given"


def _missing(signature: CallSignature, count: int, kwargs: Mapping[str, object]) -> str:
    positional = [
        name
        for name in _required_by_position(signature)
        if name not in signature.by_position[:count] and not (name in signature.by_name and name in kwargs)
    ]
    if positional:
        return f"missing {len(positional)} required positional argument{_s(len(positional))}: {_listed(positional)}"
    only = [each.name for each in signature.parameters if each.kind is Parameter.KEYWORD_ONLY and is_required(each)]
    keyword = [name for name in only if name not in kwargs]
    return f"missing {len(keyword)} required keyword-only argument{_s(len(keyword))}: {_listed(keyword)}"


def _required_by_position(signature: CallSignature) -> list[str]:
    return [each.name for each in signature.parameters if each.kind in BY_POSITION and is_required(each)]


def _listed(names: Sequence[str]) -> str:
    quoted = [repr(name) for name in names]
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}" if len(quoted) > 2 else " and ".join(quoted)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
