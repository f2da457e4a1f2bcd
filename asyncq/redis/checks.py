"""The checks: what is to be said of a server, and of how it keeps what it is given."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from asyncq.findings import Finding, Severity

OLDEST = (6, 2)

Facts: TypeAlias = Mapping[str, str]
"""What the server tells, by name."""


def facts_in(replies: Sequence[object]) -> Facts:
    """Return the facts in replies to INFO; what the server refuses to tell is not among them."""
    lines = [line for reply in replies if isinstance(reply, bytes) for line in reply.decode().splitlines()]
    return {name: fact for name, colon, fact in (line.partition(":") for line in lines) if colon}


def setting_in(reply: object) -> str:
    """Return the setting in a reply to CONFIG GET; empty: there is none, or this user may not see it."""
    if isinstance(reply, dict):
        reply = [part for pair in cast("dict[object, object]", reply).items() for part in pair]
    parts = cast("list[object]", reply) if isinstance(reply, list) else []
    return parts[1].decode() if len(parts) > 1 and isinstance(parts[1], bytes) else ""


def version_flaw(facts: Facts) -> str:
    """Return what is wrong with the version; empty: nothing."""
    version = facts.get("redis_version", "")
    found = re.match(r"(\d+)\.(\d+)", version)
    is_old = found and (int(found[1]), int(found[2])) < OLDEST
    return f"is version {version}; asyncq needs {'.'.join(map(str, OLDEST))} or later." if is_old else ""


def eviction_flaw(facts: Facts) -> str:
    """Return what happens when the memory is full, if that is bad; empty: it is not."""
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy == "noeviction" or facts.get("maxmemory") == "0":
        return ""
    return (
        f"evicts keys when its memory is full (maxmemory-policy {policy}): it would lose messages and results. "
        "Set maxmemory-policy to noeviction; publishing is then refused when it is full."
    )


def findings_of(facts: Facts, appendfsync: str, address: str) -> Sequence[Finding]:
    """Return what is to be said of a server at `address`. `appendfsync`: its setting; empty: not known."""
    if not facts:
        text = f"Redis at {address} answers. What it is, and how it is set up, this user may not ask (+info)."
        return [Finding(Severity.NOTE, "server", text)]
    name = "Valkey" if "valkey_version" in facts else "Redis"
    version = facts.get("valkey_version") or facts.get("redis_version", "")
    return [
        Finding(Severity.OK, "server", f"{name} {version} at {address}."),
        _memory(facts),
        *_persistence(facts, appendfsync),
        *_replicas(facts),
    ]


def _memory(facts: Facts) -> Finding:
    flaw = eviction_flaw(facts)
    if flaw:
        return Finding(Severity.WARNING, "memory", f"The server {flaw}")
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        text = f"maxmemory is not set. If it is, messages are lost when it is reached: maxmemory-policy is {policy}."
        return Finding(Severity.NOTE, "memory", text)
    return Finding(Severity.OK, "memory", "Nothing is evicted: maxmemory-policy is noeviction.")


def _persistence(facts: Facts, appendfsync: str) -> list[Finding]:
    findings: list[Finding] = []
    if facts.get("aof_enabled") == "0":
        text = "appendonly is off: what came after the last snapshot is gone when the server ends. Set it to yes."
        findings.append(Finding(Severity.WARNING, "persistence", text))
    elif appendfsync == "no":
        text = "appendfsync is no: a crash of the machine may cost the last half minute. everysec costs a second of it."
        findings.append(Finding(Severity.WARNING, "persistence", text))
    elif appendfsync == "always":
        findings.append(Finding(Severity.OK, "persistence", "appendonly is on, and appendfsync always."))
    else:
        text = f"appendonly is on, and appendfsync {appendfsync or 'not known'}"
        text += ": a crash of the machine may cost the last second." if appendfsync else ": this user may not see it."
        findings.append(Finding(Severity.NOTE, "persistence", text))
    for fact, what in (("aof_last_write_status", "its append-only file"), ("rdb_last_bgsave_status", "its snapshot")):
        if facts.get(fact, "ok") != "ok":
            text = f"The server could not write {what} lately, and may refuse to take anything. Its log says why."
            findings.append(Finding(Severity.ERROR, "persistence", text))
    return findings


def _replicas(facts: Facts) -> list[Finding]:
    if facts.get("connected_slaves", "0") == "0" or "min_slaves_good_slaves" in facts:
        return []
    text = "min-replicas-to-write is 0: a master that is cut off from its replicas takes writes that will be lost."
    return [Finding(Severity.NOTE, "replicas", text)]
