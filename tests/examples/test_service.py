"""The service as its users meet it: an HTTP server and a worker, each in a process of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from examples.fastapi_app.client import end_of, follow, post, upload
from examples.fastapi_app.sample import write_sample
from examples.fastapi_app.service import Service, running_worker
from examples.fastapi_app.settings import Settings
from examples.fastapi_app.walk import end_of_report
from tests.examples.conftest import LEASE
from tests.waiting import wait_until


async def test_a_report_goes_through_its_states(client: httpx.AsyncClient, tmp_path: Path) -> None:
    """A report is accepted at once, tells its progress in rows, and ends with the statistics of each column."""
    sample = write_sample(tmp_path / "orders.csv", 30_000)
    accepted = await upload(client, sample.path)
    states = [state async for state in follow(client, accepted["url"])]
    progress = [state["progress"]["done"] for state in states if state["progress"]]
    assert progress == sorted(progress)
    assert states[-1]["status"] == "succeeded"
    assert states[-1]["result"]["rows"] == sample.rows
    assert [column["kind"] for column in states[-1]["result"]["columns"]] == [each["kind"] for each in sample.columns]


async def test_every_state_can_be_asked_for(client: httpx.AsyncClient, tmp_path: Path) -> None:
    """GET gives the report after it has ended, as often as it is asked, and following it then gives its end alone."""
    accepted = await upload(client, write_sample(tmp_path / "orders.csv", 10).path)
    report = await end_of_report(client, accepted["url"])
    assert report["result"]["file"] == "orders.csv"
    assert [state async for state in follow(client, accepted["url"])] == [report]


async def test_the_worker_is_killed_in_the_middle_of_a_report(
    client: httpx.AsyncClient, service: Service, settings: Settings, tmp_path: Path
) -> None:
    """After kill -9 of the worker in the middle of a report, the next worker finishes it once the lease is over."""
    accepted = await upload(client, write_sample(tmp_path / "orders.csv", 200_000).path)
    states = follow(client, accepted["url"])
    async for state in states:
        if state["progress"]:
            break
    service.worker.popen.kill()
    service.worker.popen.wait()
    assert (await client.get(accepted["url"])).json()["status"] == "running"
    with running_worker(settings, tmp_path, "--lease", str(LEASE)):
        state = await end_of_report(client, accepted["url"])
    assert (state["status"], state["result"]["rows"], state["attempts"]) == ("succeeded", 200_000, 1)
    await states.aclose()


async def test_a_late_answer_is_found_where_it_was_said_to_be(client: httpx.AsyncClient) -> None:
    """A result that is not there in time is answered with 202 and Location, and is found there when it is ready."""
    response = await client.post("/quick", json={"text": "to be or not to be", "pause": 1.3})
    assert response.status_code == 202
    assert response.headers["Location"] == response.json()["url"] == f"/calls/{response.json()['id']}"
    early = (await client.get(response.headers["Location"])).json()
    assert early["status"] == "running"
    late = await end_of(client, response.headers["Location"])
    assert late["result"] == {"count": 6, "most_common": ["to", "be", "or"]}


async def test_an_answer_in_time_is_the_response(client: httpx.AsyncClient) -> None:
    """A result that is there in time is the response itself."""
    await end_of(client, (await post(client, "/deliveries", {"order": 1, "outages": 0}))["url"])  # the worker is up
    assert await post(client, "/quick", {"text": "yes"}, 200) == {"count": 1, "most_common": ["yes"]}


async def test_a_partner_that_stays_down_is_given_up(client: httpx.AsyncClient) -> None:
    """A task is tried as often as its policy says, and then its failure is told."""
    accepted = await post(client, "/deliveries", {"order": 3, "outages": 10})
    state = await end_of(client, accepted["url"])
    assert (state["status"], state["attempts"]) == ("failed", 5)
    assert state["error"].endswith("no answer to attempt 5")


async def test_a_reminder_waits_in_the_broker(client: httpx.AsyncClient, service: Service) -> None:
    """A call that is due later is scheduled until then, and runs when its time has come."""
    accepted = await post(client, "/reminders", {"text": "tea", "seconds": 1.5})
    assert (await client.get(accepted["url"])).json()["status"] == "scheduled"
    state = await end_of(client, accepted["url"])
    assert state["result"]["text"] == "tea"
    assert state["result"]["late"] > -0.002


async def test_an_upload_goes_when_its_report_is_there(
    client: httpx.AsyncClient, settings: Settings, tmp_path: Path
) -> None:
    """The uploaded file is kept until some time after its report, and then removed, a bad one too."""
    good = await upload(client, write_sample(tmp_path / "orders.csv", 10).path)
    bad = (await client.post("/reports", content=b"a,b\n1,2,3\n")).json()
    assert {path.name for path in settings.uploads.iterdir()} <= {f"{each['id']}.csv" for each in (good, bad)}
    for each in (good, bad):
        await end_of_report(client, each["url"])
    await wait_until(lambda: not any(settings.uploads.iterdir()), "the uploads are gone")


async def test_what_is_no_csv_fails_with_a_reason(client: httpx.AsyncClient) -> None:
    """A file that is no CSV fails at its first attempt, and says to its user what is wrong with it."""
    accepted = await client.post("/reports", params={"name": "../holiday.jpg"}, content=b"\xff\xd8\xff\xe0" * 100)
    state = await end_of_report(client, accepted.json()["url"])
    assert (state["status"], state["attempts"]) == ("failed", 1)
    assert state["error"] == "BadCsv: The file is not text in UTF-8."


async def test_an_upload_that_is_too_large_is_refused(client: httpx.AsyncClient, settings: Settings) -> None:
    """More bytes than the limit are refused, whether their number is announced or not, and nothing is kept."""
    announced = await client.post("/reports", content=b"x" * (settings.max_upload + 1))
    unannounced = await client.post("/reports", content=endless(settings.max_upload))
    assert (announced.status_code, unannounced.status_code) == (413, 413)
    assert not settings.uploads.exists() or not any(settings.uploads.iterdir())


async def endless(limit: int) -> AsyncIterator[bytes]:
    """Yield a bit more than the limit."""
    for _ in range(limit // 1_000_000 + 1):
        yield b"x" * 1_000_000


async def test_wrong_questions_get_clear_answers(client: httpx.AsyncClient) -> None:
    """Unknown ids are 404, and what cannot be meant is 422 before anything is published."""
    unknown = f"report-{0:032x}"
    assert (await client.get(f"/reports/{unknown}")).status_code == 404
    assert (await client.get(f"/reports/{unknown}/events")).status_code == 404
    assert (await client.get("/calls/nothing")).status_code == 404
    assert (await client.get("/calls/nothing", params={"wait": 0.1})).status_code == 404
    assert (await client.get("/reports/..%2Fetc")).status_code in (404, 422)
    assert (await client.post("/reports", content=b"")).status_code == 422
    assert (await client.post("/quick", json={"text": ""})).status_code == 422
    assert (await client.post("/reminders", json={"text": "x", "seconds": -1})).status_code == 422
    assert (await client.post("/squares", json={"count": 10_001})).status_code == 422


async def test_the_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    """The page comes whole: it names no other address."""
    page = await client.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "://" not in page.text
    assert "src=" not in page.text


async def test_a_report_does_not_hold_up_the_others(client: httpx.AsyncClient, tmp_path: Path) -> None:
    """Many calls at once, with a report under way, all come back right."""
    accepted = await upload(client, write_sample(tmp_path / "orders.csv", 100_000).path)
    answer = await post(client, "/squares", {"count": 3000}, 200)
    assert answer["squares"] == [number * number for number in range(3000)]
    # Results that come before their publishing is confirmed are told all the same, and need no look for safety (10 s).
    assert answer["finished_in"] < 8
    assert (await end_of_report(client, accepted["url"]))["status"] == "succeeded"
