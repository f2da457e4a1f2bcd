"""`python -m examples.fastapi_app.serve`: the service, until Ctrl-C. PORT=... chooses its port."""

import asyncio
import os
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from examples.fastapi_app.service import (
    CannotStart,
    ProcessEnded,
    Service,
    check_broker,
    end_on_signals,
    running_service,
)
from examples.fastapi_app.settings import settings_for_one_run


def main() -> int:
    """Run the service; return its exit code."""
    end_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="asyncq-serve-") as folder:
            serve(Path(folder))
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0
    except (CannotStart, ProcessEnded) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def serve(folder: Path) -> None:
    """Run the service with its data in a folder, until a signal comes or one of its processes ends."""
    settings = settings_for_one_run(folder)
    asyncio.run(check_broker(settings))
    with running_service(settings, folder, port=free_port(int(os.environ.get("PORT", "8000")))) as service:
        print(f"Open {service.address} - its API is described at {service.address}/docs")
        print(f"The worker writes to {service.worker.log}, the HTTP server to {service.server.log}")
        print("Ctrl-C stops both.", flush=True)
        _watch(service)


def _watch(service: Service) -> None:
    try:
        asyncio.run(service.watch())
    except ProcessEnded:
        for process in service.processes:
            print(f"--- last lines of the {process.name}:\n{process.log_end()}", file=sys.stderr)
        raise


def free_port(wanted: int) -> int:
    """Return the port if nobody listens on it, else 0: any other."""
    with suppress(OSError), socket.create_server(("127.0.0.1", wanted)):
        return wanted
    return 0


if __name__ == "__main__":
    sys.exit(main())
