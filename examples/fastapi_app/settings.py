"""What the environment says about the service; the HTTP server and the worker must be told the same."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from asyncq import Broker, broker_from_url


@dataclass(frozen=True, slots=True)
class Settings:
    """The service's settings.

    Attributes:
        broker_url: where tasks and results are kept (ASYNCQ_URL).
        store_url: what remembers calls where RabbitMQ has the tasks (ASYNCQ_STORE). Empty: nothing does, so there are
            no reports, and only who waits for a result sees it.
        namespace: keeps this service apart from others on the same server (ASYNCQ_NAMESPACE).
        uploads: folder of the uploaded files; the server and the worker both reach it (REPORTS_FOLDER).
        max_upload: bytes that one upload may have (REPORTS_MAX_UPLOAD).
        keep_upload: seconds a file is kept after its report (REPORTS_KEEP_UPLOAD).
    """

    broker_url: str = "sqlite:///asyncq.db"
    store_url: str = ""
    namespace: str = "reports"
    uploads: Path = Path("uploads")
    max_upload: int = 200_000_000
    keep_upload: float = 600

    def broker(self) -> Broker:
        """Return a broker of its own for who calls."""
        return broker_from_url(self.broker_url, store=self.store_url or None, namespace=self.namespace)

    def path_of(self, report_id: str) -> Path:
        """Return where the file of a report lies. The user's own file name never gets near the disk."""
        return self.uploads / f"{report_id}.csv"

    def environment(self) -> dict[str, str]:
        """Return the variables that `settings_from` reads these settings from."""
        return {
            "ASYNCQ_URL": self.broker_url,
            "ASYNCQ_STORE": self.store_url,
            "ASYNCQ_NAMESPACE": self.namespace,
            "REPORTS_FOLDER": str(self.uploads),
            "REPORTS_MAX_UPLOAD": str(self.max_upload),
            "REPORTS_KEEP_UPLOAD": str(self.keep_upload),
        }


def settings_from(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings that these variables give; each has a default."""
    default = Settings()
    return Settings(
        broker_url=environment.get("ASYNCQ_URL", default.broker_url),
        store_url=environment.get("ASYNCQ_STORE", default.store_url),
        namespace=environment.get("ASYNCQ_NAMESPACE", default.namespace),
        uploads=Path(environment.get("REPORTS_FOLDER", default.uploads)),
        max_upload=int(environment.get("REPORTS_MAX_UPLOAD", default.max_upload)),
        keep_upload=float(environment.get("REPORTS_KEEP_UPLOAD", default.keep_upload)),
    )


def settings_for_one_run(folder: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return settings that leave nothing outside the folder, and on a server only under a name of this run.

    RabbitMQ gets a store in the folder, unless ASYNCQ_STORE names one, or none by being empty. It keeps its queues.
    """
    default_url = f"sqlite:///{(folder / 'asyncq.db').absolute()}"
    broker_url = environment.get("ASYNCQ_URL", default_url)
    return Settings(
        broker_url=broker_url,
        store_url=environment.get("ASYNCQ_STORE", default_url if broker_url.startswith("amqp") else ""),
        namespace=f"reports-{uuid4().hex[:12]}",
        uploads=folder / "uploads",
    )
