"""README and docs: every file that they show is written out and run, and does what they say."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from examples.fastapi_app.service import ROOT

FILE = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTS = [str(path.relative_to(ROOT)) for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1"}


def written_out(document: str, folder: Path) -> list[str]:
    """Write the files that a document shows into a folder; return their names."""
    files = FILE.findall((ROOT / document).read_text())
    for name, content in files:
        (folder / name).write_text(content)
    return [name for name, _ in files]


@contextmanager
def running(folder: Path, *command: str, files: Sequence[int] = ()) -> Iterator[None]:
    """Run a Python module beside the block."""
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log, pass_fds=files
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            finally:
                process.kill()
                process.wait()


@contextmanager
def application(folder: Path, app: str) -> Iterator[httpx.Client]:
    """Serve an application beside the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "http://{}:{}".format(*listener.getsockname())
        command = ["uvicorn", app, "--fd", str(listener.fileno()), "--timeout-graceful-shutdown", "3"]
        with running(folder, *command, files=[listener.fileno()]), httpx.Client(base_url=address, timeout=30) as client:
            listener.close()  # a server that has died refuses its clients, instead of letting them wait for us
            yield client


def output_of(folder: Path, *command: str) -> list[str]:
    """Run a program to its end; return what it printed."""
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_the_readme_does_what_it_shows(tmp_path: Path) -> None:
    """The example of the README gives the sum that it promises."""
    assert written_out("README.md", tmp_path) == ["app.py"]
    with running(tmp_path, "asyncq", "worker", "app:broker"), application(tmp_path, "app:app") as client:
        assert client.post("/sums", params={"a": 1, "b": 2}).json() == 3


def test_the_quickstart_publishes_and_asks(tmp_path: Path) -> None:
    """The first programs of the quickstart print what their comments say."""
    written_out("docs/quickstart.md", tmp_path)
    with running(tmp_path, "asyncq", "worker", "tasks:broker"):
        assert output_of(tmp_path, "send.py") == ["3", "succeeded 1", "3", "999000", "QUIET"]
        first, second, third = output_of(tmp_path, "ask.py")
    assert (first, second) == ("42", "True")
    assert "order-18" in third


def test_plain_functions(tmp_path: Path) -> None:
    """Functions run in a thread and in a process of a worker, and in a process of a program with a worker in it."""
    written_out("docs/sync.md", tmp_path)
    call = "from app import *\nprint({}.kiq_sync({!r}).result_sync(timeout=20).value)"
    (tmp_path / "count.py").write_text(call.format("count_rows", "app.py"))
    (tmp_path / "prime.py").write_text(call.format("largest_prime_below", 100))
    with running(tmp_path, "asyncq", "worker", "app:broker"):
        assert output_of(tmp_path, "count.py") == [str(len((tmp_path / "app.py").read_text().splitlines()))]
        assert output_of(tmp_path, "prime.py") == ["97"]
    assert output_of(tmp_path, "program.py") == ["False"]


def test_the_quickstarts_options_work(tmp_path: Path) -> None:
    """The options of the quickstart are accepted, and the last call comes back."""
    written_out("docs/quickstart.md", tmp_path)
    with running(tmp_path, "asyncq", "worker", "options:broker"):
        assert output_of(tmp_path, "options.py") == ["sent to zoe@example.com"]


def test_the_quickstarts_failures_are_as_described(tmp_path: Path) -> None:
    """What the quickstart says about failures is what its program prints."""
    written_out("docs/quickstart.md", tmp_path)
    with running(tmp_path, "asyncq", "worker", "shop:broker"):
        book, moon, junk, slow = output_of(tmp_path, "buy.py")
    assert book == "book, at attempt 3"
    assert moon == "OutOfStock('moon')"
    assert junk.startswith("failed ")
    assert "we do not sell that" in junk
    assert "0.2" in slow


def test_the_case_of_the_dead_letters(tmp_path: Path) -> None:
    """The case is as told: the task fails, its letter is found, and once it is mended the retry succeeds."""
    written_out("docs/dead-letters.md", tmp_path)
    with running(tmp_path, "asyncq", "worker", "invoices:broker"):
        assert output_of(tmp_path, "order.py") == ["failed None KeyError('vat_rate')"]
    assert output_of(tmp_path, "errors.py") == ["1 builtins:KeyError"]
    (header, line) = output_of(tmp_path, "-m", "asyncq", "dead", "list", "invoices:broker", "--newer-than", "30m")
    assert header.startswith("DIED")
    assert line.endswith("invoice-1017  invoices  invoice.make         2  KeyError: 'vat_rate'")
    shown = output_of(tmp_path, "-m", "asyncq", "dead", "show", "invoices:broker", "invoice-1017")
    assert {"arguments   1017, currency='EUR'", "labels      team='billing'", "attempts    2"} <= {*shown}
    assert any(re.fullmatch("attempt 1   .* UTC  KeyError: 'vat_rate'", each) for each in shown)
    source = (tmp_path / "invoices.py").read_text()
    (tmp_path / "invoices.py").write_text(source.replace("order['vat_rate']", "order['vat']"))
    retry = ["-m", "asyncq", "dead", "retry", "invoices:broker", "--task", "invoice.make", "--error", "vat_rate"]
    assert output_of(tmp_path, *retry) == ["1 dead letter put back."]
    with running(tmp_path, "asyncq", "worker", "invoices:broker"):
        assert output_of(tmp_path, "order.py") == ["succeeded 121.00 EUR None"]


def test_the_cases_of_unique_calls(tmp_path: Path) -> None:
    """One import per customer runs at a time, and a document is indexed once, in its last version."""
    written_out("docs/unique.md", tmp_path)
    with running(tmp_path, "asyncq", "worker", "imports:broker"):
        assert output_of(tmp_path, "upload.py") == [
            "True False True",
            "customer 42: monday.csv",
            "True customer 42: tuesday.csv",
        ]
    with running(tmp_path, "asyncq", "worker", "search:broker"):
        assert output_of(tmp_path, "editor.py") == ["1", "100 100"]


def test_the_case_of_the_schedules(tmp_path: Path) -> None:
    """The schedules of the page are declared, listed, and managed by the program as its comments say."""
    written_out("docs/schedules.md", tmp_path)
    with running(tmp_path, "asyncq", "scheduler", "report:broker"):
        while not (listed := output_of(tmp_path, "-m", "asyncq", "schedules", "list", "report:broker"))[1:]:
            pass
        assert output_of(tmp_path, "manage.py") == ["['report.weekly.17']", "True None", "queued", "True"]
    assert listed[0].split() == ["NAME", "TASK", "SCHEDULE", "NEXT", "LAST", "RUNS", "STATE"]
    assert "rates.fetch     rates.fetch     Every(600, jitter=30)" in listed[1]
    assert "Cron('0 6 * * *', grace=14400, overlap=False, tz='Europe/Prague')" in listed[2]


def test_the_quickstarts_progress_is_told(tmp_path: Path) -> None:
    """The progress program prints how its task comes on, and its end."""
    written_out("docs/quickstart.md", tmp_path)
    with running(tmp_path, "asyncq", "worker", "progress:broker"):
        lines = output_of(tmp_path, "progress.py")
    assert lines[-1].startswith("succeeded")
    assert any("total=100" in line for line in lines)


def test_the_quickstarts_test_passes(tmp_path: Path) -> None:
    """The test that the quickstart shows runs without a server and without a worker process, and passes."""
    written_out("docs/quickstart.md", tmp_path)
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "test_tasks.py"]
    assert "1 passed" in output_of(tmp_path, *command)[-1]


def test_the_fastapi_page_answers_in_time_or_later(tmp_path: Path) -> None:
    """The application of the FastAPI page gives values, pending answers, progress and states as it says."""
    written_out("docs/fastapi.md", tmp_path)
    (tmp_path / "whole.py").write_text("import errors, plain\nfrom app import app\n")
    with running(tmp_path, "asyncq", "worker", "tasks:broker"), application(tmp_path, "whole:app") as client:
        first = client.post("/sums", params={"a": 1, "b": 1})
        assert client.get(f"/sums/{first.json()['id']}").json() == 2 if first.status_code == 202 else first.json() == 2
        late = client.post("/sums", params={"a": 1, "b": 2, "pause": 1.5})
        assert (late.status_code, late.headers["Location"]) == (202, late.json()["url"])
        assert client.get(late.headers["Location"]).json() == 3
        assert client.get("/sums/nothing").status_code == 404
        conversion = client.post("/conversions", params={"pages": 10}).json()
        events = client.get(f"/conversions/{conversion}/events").text
        assert "event: running\ndata: " in events
        assert "event: succeeded" in events.split("\n\n")[-2]
        assert client.get(f"/calls/{conversion}").json() == "succeeded"
        assert client.get("/calls/nothing").json() == "unknown"
        assert client.post("/plain-sums", params={"a": 20, "b": 22}).json() == 42


def test_the_fastapi_page_runs_its_worker_inside(tmp_path: Path) -> None:
    """The application with a worker of its own answers without any other process."""
    written_out("docs/fastapi.md", tmp_path)
    with application(tmp_path, "alone:app") as client:
        assert client.get("/double/21").json() == 42


def anchors_of(path: Path) -> set[str]:
    """Return what a link may name in a document: its headings, as GitHub makes anchors of them, and its own anchors."""
    text = path.read_text()
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="(\w+)">', text))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """Every relative link of a document leads to a file or folder that is there, and to a heading that is in it."""
    path = ROOT / document
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_the_case_of_the_payment_api(tmp_path: Path) -> None:
    """A 429 pauses the account and is tried again; both charges come through."""
    written_out("docs/rate-limits.md", tmp_path)
    assert output_of(tmp_path, "payments.py") == ["acme: 5 acme: 7"]


def test_the_case_of_the_mail(tmp_path: Path) -> None:
    """The small customer's mail has every second turn."""
    written_out("docs/fairness.md", tmp_path)
    assert output_of(tmp_path, "mail.py") == ["['large 0', 'small 0', 'large 1', 'small 1']"]


def test_the_case_of_the_imports(tmp_path: Path) -> None:
    """Imports of one customer never overlap."""
    written_out("docs/concurrency-limits.md", tmp_path)
    assert output_of(tmp_path, "imports.py") == ["['0.csv', '0.csv', '1.csv', '1.csv', '2.csv', '2.csv']"]
