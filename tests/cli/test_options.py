"""What the command line refuses, and what it says then."""

import pytest
from click import BadParameter
from click.testing import CliRunner, Result

from asyncq import __version__
from asyncq.cli import main
from asyncq.cli.options import DurationType
from asyncq.cli.texts import plain, span


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--concurency", "3"], "No such option '--concurency'. Did you mean '--concurrency'?"),
        (["--concurrency", "0"], "'--concurrency': 0 is not in the range x>=1"),
        (["--concurrency", "many"], "'--concurrency': 'many' is not a valid integer range"),
        (["--processes", "0"], "'--processes': 0 is not in the range x>=1"),
        (["--lease", "0"], "'--lease': a number of seconds, more than 0, is wanted; got '0'"),
        (["--lease", "nan"], "'--lease': a number of seconds, more than 0, is wanted; got 'nan'"),
        (["--max-block", "inf"], "'--max-block': a number of seconds, more than 0, is wanted; got 'inf'"),
        (["--pool-processes", "0"], "'--pool-processes': 0 is not in the range x>=1"),
        (["--max-tasks-per-child", "0"], "'--max-tasks-per-child': 0 is not in the range x>=1"),
        (["--max-memory-per-child", "0"], "a number of megabytes, more than 0, is wanted; got '0'"),
        (["--max-memory-per-child", "1G"], "'--max-memory-per-child': '1G' is not a number of megabytes"),
        (["--shutdown-timeout", "-1"], "'--shutdown-timeout': a number of seconds, 0 or more, is wanted; got '-1'"),
        (["--shutdown-timeout", "soon"], "'--shutdown-timeout': 'soon' is not a number of seconds"),
        (["--queue", "two words"], "'--queue': A queue's name is made of letters, digits, '_', '.' and '-'"),
        (["--queue", "mail:0"], "'mail:0': after the colon stands how many of its tasks run at once, 1 or more"),
        (["--queue", "mail:x"], "'mail:x': after the colon stands how many of its tasks run at once, 1 or more"),
        (["--queue", "mail", "--queue", "mail:2"], "'--queue': queue 'mail' is named twice"),
        (["--app-dir", "nowhere"], "'--app-dir': Directory 'nowhere' does not exist"),
        (["--log-level", "loud"], "'--log-level': 'loud' is not one of"),
        (["--log-format", "xml"], "'--log-format': 'xml' is not one of 'text', 'json'"),
        (["--burst", "--reload"], "choose one"),
    ],
)
def test_wrong_options(arguments: list[str], message: str) -> None:
    """A wrong option is refused with exit code 2 and a message that names it and what is wanted."""
    result = run("worker", "shop:broker", *arguments)

    assert result.exit_code == 2
    assert message in result.output


def test_no_app() -> None:
    """Without APP the message says that it is missing."""
    result = run("worker")

    assert result.exit_code == 2
    assert "Missing argument 'APP'" in result.output


def test_wrong_command() -> None:
    """A mistyped command is answered with the one that was meant."""
    result = run("wrker")

    assert result.exit_code == 2
    assert "Did you mean" in result.output
    assert "'worker'" in result.output


@pytest.mark.parametrize("arguments", [["--version"], ["worker", "--version"]])
def test_version(arguments: list[str]) -> None:
    """The version is told before anything is loaded."""
    assert run(*arguments).output == f"asyncq {__version__}\n"


def test_help_hides_what_is_internal() -> None:
    """The help names every option that is for users, and not the one that supervisors use."""
    text = run("worker", "--help").output

    assert "--shutdown-timeout SECONDS" in text
    assert "--charge" not in text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("3d", 259_200),
        ("1w", 604_800),
        ("1h30m", 5400),
    ],
)
def test_spans_of_time(text: str, seconds: float) -> None:
    """A span of time is a number of seconds, or numbers with units."""
    assert DurationType().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1y", "h", "1h30", "1 2", "1e9", "nan"])
def test_what_is_no_span_of_time(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(BadParameter, match="is no span of time"):
        DurationType().convert(text, None, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (-3, "0s"), (0.4, "0s"), (59, "59s"), (60, "1m"), (185, "3m 5s"), (7500, "2h 5m"), (90_000, "1d 1h")],
)
def test_how_time_is_said(seconds: float | None, text: str) -> None:
    """A span is said in its two largest units."""
    assert span(seconds) == text


def test_what_a_terminal_would_obey() -> None:
    """A text with line feeds and escape sequences is shown in one line, and does nothing."""
    assert plain("a\nb\x1b[31mc") == "a b [31mc"
