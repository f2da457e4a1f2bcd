"""Which calls fit a function: Python is the judge."""

import inspect
import re
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncq.serializers.misfit import misfit
from asyncq.serializers.signature import CallSignature

NAMES = "abcdef"
CALLS = st.tuples(st.integers(0, 6), st.sets(st.sampled_from([*NAMES, "args", "kwargs", "x", "y"]), max_size=4))


@st.composite
def functions(draw: st.DrawFn) -> Callable[..., dict[str, Any]]:
    """Return a function of any signature that returns its arguments by name."""
    counts = [draw(st.integers(0, 2)) for _ in range(3)]
    names = iter(NAMES)
    only, either, keyword = ([next(names) for _ in range(count)] for count in counts)
    required = draw(st.integers(0, len(only) + len(either)))
    defaulted = {name for index, name in enumerate([*only, *either]) if index >= required}
    defaulted |= {name for name in keyword if draw(st.booleans())}
    written = [f"{name}=0" if name in defaulted else name for name in [*only, *either]]
    if only:
        written.insert(len(only), "/")
    has_rest = draw(st.booleans())
    if has_rest or keyword:
        written.append("*args" if has_rest else "*")
    written += [f"{name}=0" if name in defaulted else name for name in keyword]
    if draw(st.booleans()):
        written.append("**kwargs")
    names_of_function: dict[str, Any] = {}
    exec(f"def function({', '.join(written)}): return locals()", names_of_function)
    return names_of_function["function"]


@given(functions(), CALLS)
@settings(max_examples=1000, deadline=None)
def test_it_says_what_python_says(function: Callable[..., dict[str, Any]], call: tuple[int, set[str]]) -> None:
    """A call fits where Python takes it, and is bound as Python binds it; where not, the words are Python's."""
    count, names = call
    args, kwargs = tuple(range(count)), dict.fromkeys(sorted(names), 9)
    signature = CallSignature(function)
    try:
        expected = function(*args, **kwargs)
    except TypeError as error:
        refusal = str(error)
    else:
        assert signature.fits(count, kwargs)
        bound = signature.bound(args, kwargs)
        assert bound == expected
        assert list(bound) == list(inspect.signature(function).parameters)
        return
    assert not signature.fits(count, kwargs)
    said = misfit(signature, count, kwargs)
    # Only newer versions of Python guess what was meant, and not as we do.
    assert re.sub(r"\. Near it.*", "", said) == re.sub(r"\. Did you mean.*", "", refusal)
