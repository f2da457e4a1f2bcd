"""What the environment says about the service; the HTTP server and the worker must be told the same."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4


@dataclass(frozen=True, slots=True)
class Settings:
    """The service's settings.

    Attributes:
        broker_url: where tasks and results are kept (ASYNCQ_URL).
        namespace: keeps this service apart from others on the same server (ASYNCQ_NAMESPACE).
        uploads: folder of the uploaded files; the server and the worker both reach it (REPORTS_FOLDER).
        max_upload: bytes that one upload may have (REPORTS_MAX_UPLOAD).
        keep_upload: seconds a file is kept after its report (REPORTS_KEEP_UPLOAD).
    """

    broker_url: str = "sqlite:///asyncq.db"
    namespace: str = "reports"
    uploads: Path = Path("uploads")
    max_upload: int = 200_000_000
    keep_upload: float = 600

    def path_of(self, report_id: str) -> Path:
        """Return where the file of a report lies. The user's own file name never gets near the disk."""
        return self.uploads / f"{report_id}.csv"

    def environment(self) -> dict[str, str]:
        """Return the variables that `settings_from` reads these settings from."""
        return {
            "ASYNCQ_URL": self.broker_url,
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
        namespace=environment.get("ASYNCQ_NAMESPACE", default.namespace),
        uploads=Path(environment.get("REPORTS_FOLDER", default.uploads)),
        max_upload=int(environment.get("REPORTS_MAX_UPLOAD", default.max_upload)),
        keep_upload=float(environment.get("REPORTS_KEEP_UPLOAD", default.keep_upload)),
    )


def settings_for_one_run(folder: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return settings that leave nothing outside the folder, and on a server only under a name of this run."""
    default_url = f"sqlite:///{(folder / 'asyncq.db').absolute()}"
    return Settings(
        broker_url=environment.get("ASYNCQ_URL", default_url),
        namespace=f"reports-{uuid4().hex[:12]}",
        uploads=folder / "uploads",
    )
