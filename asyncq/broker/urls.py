"""URLs of brokers."""

import re
from urllib.parse import urlsplit, urlunsplit


def hidden_password(url: str) -> str:
    """Return the URL with its password, in the authority or the query, replaced by stars."""
    parts = urlsplit(url)
    authority = parts.netloc
    if "@" in authority:
        user, _, host = authority.rpartition("@")
        name, colon, _ = user.partition(":")
        authority = f"{name}{colon and ':***'}@{host}"
    query = re.sub(r"(?i)((?:password|secret|token)=)[^&]*", r"\1***", parts.query)
    return urlunsplit((parts.scheme, authority, parts.path, query, ""))
