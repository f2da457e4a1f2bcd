"""What the command line refuses, and what it says then."""

import pytest
from click.testing import CliRunner, Result

from asyncq import __version__
from asyncq.cli import main


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
    assert "Did you mean 'worker'?" in result.output


@pytest.mark.parametrize("arguments", [["--version"], ["worker", "--version"]])
def test_version(arguments: list[str]) -> None:
    """The version is told before anything is loaded."""
    assert run(*arguments).output == f"asyncq {__version__}\n"


def test_help_hides_what_is_internal() -> None:
    """The help names every option that is for users, and not the one that supervisors use."""
    text = run("worker", "--help").output

    assert "--shutdown-timeout SECONDS" in text
    assert "--charge" not in text
