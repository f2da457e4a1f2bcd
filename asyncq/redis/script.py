"""The scripts: one Lua file for each step that has to be atomic.

The comment that opens a file is read. Its lines say what the file needs: `KEYS:` names the keys that it is given, each
of which becomes a local variable of that name; `KEYS*` does the same once for each queue, and leaves them in `KEYS`;
`USES:` names files whose functions come before its own, and before those what they use; `FLAGS:` are those of Redis 7
and later.

What a call costs is mostly not its commands: a server makes each name of a key, and all functions of a script, anew. So
what runs for every call is kept lean in three ways. A script that is given the `prefix` of a queue alone makes the keys
that `NAMED:` lists of it. The files that `FIRST:` names come before these: they deal with the usual case, which ends
there. And what few calls need stands in files that a line in between names: `-- LATER: with_limits(take next) terms
limited` becomes a function that, once called, makes those of these files and returns the ones in brackets.

The one flag in use is `allow-oom`: everything but publishing goes on when the server's memory is full. Servers that do
not know it ask only of a script's first write whether it may take memory: there such a script begins with one that may.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files

from asyncq.redis.keys import QUEUE_KEYS, Keys, ending_of

_HEADER = re.compile(r"^-- (KEYS:|KEYS\*|NAMED:|FIRST:|USES:|FLAGS:) (.+)$", re.MULTILINE)
_LATER = re.compile(r"^-- LATER: (\w+)\(([\w ]+)\) (.+)$", re.MULTILINE)
_FIRST_WRITE = "redis.call('DEL', KEYS[1] .. ':')  -- no key has this name"
_PARTS = {
    *("bells", "lending", "fetch_plain", "notices", "settle_plain"),
    *("queue", "suspects", "returning", "disowning", "severing", "fencing", "ending", "burial", "known", "following"),
    *("ledger", "keyed", "uniques", "leaving", "moving", "parking", "replacing"),
    *("terms", "grants", "holders", "admitting", "groups", "lanes", "limited"),
}
"""Files that are no scripts of their own."""


@dataclass(frozen=True, slots=True)
class Script:
    """One script.

    Attributes:
        name: of its file.
        keys: names of the keys that it is given.
        source: its text.
        flags: of Redis 7 and later; empty: none.
    """

    name: str
    keys: tuple[str, ...]
    source: str
    flags: str

    def text(self, *, with_flags: bool) -> str:
        """Return what the server is given."""
        if not self.flags:
            return self.source
        return f"{f'#!lua flags={self.flags}' if with_flags else _FIRST_WRITE}\n{self.source}"

    def select(self, keys: Keys) -> tuple[str, ...]:
        """Return the keys that it is given of these."""
        return keys.select(self.keys)


class ScriptSet:
    """The scripts, with the names under which one kind of server knows them.

    Attributes:
        texts: the scripts as the server is given them.
        digests: what the server calls them, by name.
    """

    def __init__(self, *, with_flags: bool) -> None:
        scripts = all_scripts()
        self.with_flags = with_flags
        self.texts = [script.text(with_flags=with_flags) for script in scripts.values()]
        self.digests = {
            name: sha1(text.encode(), usedforsecurity=False).hexdigest()
            for name, text in zip(scripts, self.texts, strict=True)
        }


@cache
def all_scripts() -> Mapping[str, Script]:
    """Return the scripts by name."""
    folder = files("asyncq.redis") / "scripts"
    texts = {
        entry.name.removesuffix(".lua"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".lua")
    }
    return {name: _script(name, texts) for name in texts if name not in _PARTS}


def _script(name: str, texts: Mapping[str, str]) -> Script:
    header = _header_of(texts[name])
    keys = header.get("KEYS:", [])
    parts = [f"local {', '.join(keys)} = unpack(KEYS)\n"] if keys else []
    used: list[str] = []
    parts += [texts[part] for part in _uses(header.get("FIRST:", []), texts, used)]
    parts.append(_named(header.get("NAMED:", [])))
    parts += [texts[part] for part in _uses(header.get("USES:", []), texts, used)]
    parts.append(_LATER.sub(lambda line: _made_later(texts, *line.groups()), texts[name]))
    return Script(name, tuple(keys or header["KEYS*"]), "".join(parts), ",".join(header.get("FLAGS:", [])))


def _header_of(text: str) -> dict[str, list[str]]:
    return {kind: value.split() for kind, value in _HEADER.findall(text)}


def _uses(names: Sequence[str], texts: Mapping[str, str], used: list[str]) -> list[str]:
    """Return these files, and before each those that it uses, without those that are `used`, which they join."""
    new: list[str] = []
    for name in names:
        if name not in used:
            new += _uses(_header_of(texts[name]).get("USES:", []), texts, used)
            used.append(name)
            new.append(name)
    return new


def _named(names: Sequence[str]) -> str:
    """Return what makes keys of the prefix of a queue."""
    if not names:
        return ""
    tag = "string.match(prefix, '^{.*}') .. ':'"
    values = [f"{'prefix' if name in QUEUE_KEYS else tag} .. '{ending_of(name)}'" for name in names]
    return f"local {', '.join(names)} = {', '.join(values)}\n"


def _made_later(texts: Mapping[str, str], maker: str, made: str, parts: str) -> str:
    body = "".join(texts[part] for part in parts.split())
    return f"local function {maker}()\n{body}return {{{', '.join(f'{name} = {name}' for name in made.split())}}}\nend"
