"""URLs of brokers."""

import re
from urllib.parse import urlsplit, urlunsplit


def hidden_password(url: str) -> str:
    """Return the URL, or several with commas between them, with each password replaced by stars.

    It may stand in the authority or in the query.
    """
    return ",".join(map(_hidden, re.split(r",(?=\s*[a-z+]+://)", url)))


def _hidden(url: str) -> str:
    parts = urlsplit(url)
    authority = parts.netloc
    if "@" in authority:
        user, _, host = authority.rpartition("@")
        name, colon, _ = user.partition(":")
        authority = f"{name}{colon and ':***'}@{host}"
    query = re.sub(r"(?i)((?:password|secret|token)=)[^&]*", r"\1***", parts.query)
    return urlunsplit((parts.scheme, authority, parts.path, query, ""))
