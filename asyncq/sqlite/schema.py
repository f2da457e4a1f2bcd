"""The tables of the file.

A call is one row from its publishing to the end of its result: `body` holds the message until the call has ended and
the encoded result from then on, so that a settlement touches one row and no index over ids.
"""

import re
from typing import Final

from asyncq.terms import PRIORITY_STEP_MS
from asyncq.transport import SUSPECT_CRASHES

APPLICATION_ID: Final = 0x61737971
"""Marks the file as one of asyncq's ("asyq")."""

SCHEMA_VERSION: Final = 6

# What `calls.state` says. They are spelled into the statements as literals: the planner takes a partial index only
# where it sees the very term of the index, which a parameter hides.
READY: Final = 0
SCHEDULED: Final = 1
RUNNING: Final = 2
ENDED: Final = 3
LINED: Final = 4
"""It waits in the line of a limit."""

HAS_TERMS: Final = "(terms IS NOT NULL OR lane IS NOT NULL)"
"""What tells calls that need what limits grant, or have a group. One that has ended has neither any more."""

FAR_MS: Final = 2**62
"""The time of a line that only a freed slot, or a change, can help."""

IS_SUSPECT: Final = f"crashes >= {SUSPECT_CRASHES}"
IS_PLAIN: Final = f"crashes < {SUSPECT_CRASHES}"
"""What tells suspects from the rest. Another number of crashes is another SCHEMA_VERSION: it stands in indexes."""

IS_ALONE: Final = f"state = {READY} AND {IS_PLAIN} AND lane IS NULL"
IS_IN_LANE: Final = f"state = {READY} AND {IS_PLAIN} AND lane IS NOT NULL"
"""What tells those that are ready, and no suspects, by whether they have a group."""

_AGES_MS: Final = 2**50
HANDED_BACK: Final = f"""state = {READY}, holder = NULL,
    due_ms = iif(lane IS NULL OR due_ms < 0, due_ms, due_ms - {_AGES_MS})"""
"""What becomes of a call that is lent no more: it has its old place, or that before all of its group."""

PLACE_IN_LANE: Final = f"due_ms - {PRIORITY_STEP_MS} * priority"
"""Where a call stands in the lane of its group: a step of priority is worth so much waiting."""

# What `consumers.hunger` says.
SATED: Final = 0
"""It finds more than it can take anyway."""
HUNGER: Final = 1
"""For anything but suspects."""
HUNGER_FOR_ALL: Final = 2
FOR_TURNS: Final = -1
"""Of a ledger's holder: for nothing but the lines of limits."""

# A lane goes with its last call, however that leaves, and comes with its first. Only what is published joins by a
# statement of its own (`lanes.join`): a trigger would cost those a sixth of their time that have no group.
_LEAVE_LANE: Final = """BEGIN
    DELETE FROM lanes WHERE stand = OLD.stand AND lane = OLD.lane
        AND NOT EXISTS(SELECT 1 FROM calls WHERE stand = OLD.stand AND lane = OLD.lane); """

TABLES: Final = f"""
CREATE TABLE spaces(
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    is_ledgers INTEGER NOT NULL DEFAULT 0   -- and no transport's
);

CREATE TABLE queues(id INTEGER PRIMARY KEY, space INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE(space, name));

CREATE TABLE calls(
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    space INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    state INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,                -- when it became ready or will; with seq, its place, kept when handed back
                                            -- (ages earlier then, where it has a group)
    holder INTEGER,                         -- consumers.id while it runs
    fetch INTEGER,                          -- which fetch of that consumer took it; with seq, the delivery's token
    crashes INTEGER NOT NULL DEFAULT 0,
    blamed TEXT,                            -- consumers.id of those who were taken for dead, each between spaces
    expires_ms INTEGER,                     -- end of the result's time
    progress_end_ms INTEGER,
    progress BLOB,
    generation INTEGER NOT NULL DEFAULT 0,  -- this and the next three: of a ledger's calls
    orphaned_ms INTEGER,                    -- when it was reclaimed, or changed while it waited, until it was placed
    is_reopened INTEGER NOT NULL DEFAULT 0, -- a letter that has not run since
    is_changed INTEGER NOT NULL DEFAULT 0,  -- it was given another body, and has not run since
    terms TEXT,                             -- what limits have to grant before it is lent
    line INTEGER,                           -- lines.id where it waits for that
    lane TEXT,                              -- its group
    stand INTEGER AS (                      -- where groups take turns: minus queue, or line
        CASE state WHEN {READY} THEN iif({IS_PLAIN}, -queue, NULL) WHEN {LINED} THEN line END
    ),
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX calls_id ON calls(id, space);
CREATE INDEX calls_ready ON calls(queue, priority DESC, due_ms, seq) WHERE {IS_ALONE};
CREATE INDEX calls_grouped ON calls(queue, priority DESC, due_ms, seq) WHERE {IS_IN_LANE};
CREATE INDEX calls_lanes ON calls(stand, lane, {PLACE_IN_LANE}, seq) WHERE lane IS NOT NULL AND stand IS NOT NULL;
CREATE INDEX calls_suspect ON calls(queue, priority DESC, due_ms, seq) WHERE state = {READY} AND {IS_SUSPECT};
CREATE INDEX calls_scheduled ON calls(queue, due_ms) WHERE state = {SCHEDULED};
CREATE INDEX calls_running ON calls(holder) WHERE state = {RUNNING};
CREATE INDEX calls_blamed ON calls(queue) WHERE blamed IS NOT NULL AND state <> {ENDED};
CREATE INDEX calls_orphaned ON calls(space, orphaned_ms, seq) WHERE state < {RUNNING} AND orphaned_ms IS NOT NULL;
CREATE INDEX calls_lined ON calls(line, lane, priority DESC, due_ms, seq) WHERE state = {LINED};
CREATE INDEX calls_with_terms ON calls(queue, lane) WHERE {HAS_TERMS};
CREATE INDEX calls_ended ON calls(expires_ms) WHERE state = {ENDED};

CREATE TABLE claims(                        -- ids that somebody is about to publish, of a ledger
    space INTEGER NOT NULL,
    id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY(space, id)
) WITHOUT ROWID;

CREATE TABLE tombstones(                    -- ends that outlast their results, of a ledger
    space INTEGER NOT NULL,
    id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY(space, id)
) WITHOUT ROWID;
CREATE INDEX tombstones_expiry ON tombstones(expires_ms);

CREATE TABLE uniques(                       -- keys that one call has to itself
    space INTEGER NOT NULL,
    key TEXT NOT NULL,
    id TEXT NOT NULL,                       -- of that call
    queue INTEGER NOT NULL,
    ends_at_start INTEGER NOT NULL,         -- given back when the call is first lent, else when it ends
    taken_ms INTEGER NOT NULL,
    ends_ms INTEGER NOT NULL,               -- given back then, and not before; 0: as said above
    claimed_ms INTEGER,                     -- of an open claim: for how long a call keeps it; 0: as said above
    PRIMARY KEY(space, key)
) WITHOUT ROWID;
CREATE INDEX uniques_id ON uniques(id, space) WHERE ends_ms = 0;
CREATE INDEX uniques_starting ON uniques(id, space) WHERE ends_ms = 0 AND ends_at_start;
CREATE INDEX uniques_claimed ON uniques(id, space) WHERE claimed_ms IS NOT NULL;
CREATE INDEX uniques_expiry ON uniques(ends_ms) WHERE ends_ms <> 0;

CREATE TABLE limits(
    space INTEGER NOT NULL,
    limit_id TEXT NOT NULL,                 -- its kind and its name
    declared TEXT,                          -- numbers
    changed TEXT,                           -- at run time; they go before the declared ones
    PRIMARY KEY(space, limit_id)
) WITHOUT ROWID;

CREATE TABLE pauses(
    space INTEGER NOT NULL,
    paused TEXT NOT NULL,                   -- a limit_id, or a limit_key
    until_ms INTEGER NOT NULL,
    PRIMARY KEY(space, paused)
) WITHOUT ROWID;

CREATE TABLE grants(                        -- the logs of rate limits
    space INTEGER NOT NULL,
    limit_key TEXT NOT NULL,                -- of one count of a limit: its limit_id, a space and the key
    at_ms INTEGER NOT NULL,
    weight INTEGER NOT NULL,                -- that was granted then
    total INTEGER NOT NULL,                 -- up to here: of two, the difference is what lies between
    ends_ms INTEGER NOT NULL,               -- it surely counts no more
    PRIMARY KEY(space, limit_key, at_ms)
) WITHOUT ROWID;
CREATE INDEX grants_expiry ON grants(ends_ms);

CREATE TABLE holds(                         -- who holds slots of concurrency limits
    space INTEGER NOT NULL,
    limit_key TEXT NOT NULL,
    holder NOT NULL,                        -- calls.seq while that is lent, or a name outside of tasks
    until_ms INTEGER,                       -- of the latter
    PRIMARY KEY(space, limit_key, holder)
) WITHOUT ROWID;
CREATE INDEX holds_holder ON holds(holder);
CREATE INDEX holds_expiry ON holds(until_ms) WHERE until_ms IS NOT NULL;

CREATE TABLE lines(                         -- in which calls wait for what limits grant; an empty one goes
    id INTEGER PRIMARY KEY,
    space INTEGER NOT NULL,
    limit_key TEXT NOT NULL,
    queue INTEGER NOT NULL,
    turn_ms INTEGER NOT NULL,               -- when it is to be asked for
    UNIQUE(space, limit_key, queue)
);
CREATE INDEX lines_turn ON lines(queue, turn_ms, id);

CREATE TABLE lanes(                         -- of groups that have calls at a stand; and '', of all without one
    stand INTEGER NOT NULL,
    lane TEXT NOT NULL,
    turn INTEGER NOT NULL,                  -- the smallest is served first, and then has the largest
    PRIMARY KEY(stand, lane)
) WITHOUT ROWID;
CREATE INDEX lanes_turn ON lanes(stand, turn, lane);
CREATE TRIGGER lanes_are_two AFTER INSERT ON lanes WHEN NEW.lane <> '' BEGIN
    INSERT OR IGNORE INTO lanes(stand, lane, turn) VALUES (NEW.stand, '', NEW.turn); END;
CREATE TRIGGER lanes_are_none AFTER DELETE ON lanes WHEN OLD.lane <> '' BEGIN
    DELETE FROM lanes WHERE stand = OLD.stand AND lane = ''
        AND NOT EXISTS(SELECT 1 FROM lanes WHERE stand = OLD.stand AND lane <> ''); END;
CREATE TRIGGER calls_change_lanes AFTER UPDATE OF state, crashes, line, lane ON calls
    WHEN OLD.lane IS NOT NULL OR NEW.lane IS NOT NULL {_LEAVE_LANE}
    INSERT OR IGNORE INTO lanes(stand, lane, turn)
        SELECT NEW.stand, NEW.lane, 1 + ifnull((SELECT max(turn) FROM lanes WHERE stand = NEW.stand), 0)
        WHERE NEW.stand IS NOT NULL AND NEW.lane IS NOT NULL; END;
CREATE TRIGGER calls_leave_lanes AFTER DELETE ON calls WHEN OLD.lane IS NOT NULL {_LEAVE_LANE} END;

CREATE TABLE waiters(                       -- code outside of tasks that waits for a limit
    place INTEGER PRIMARY KEY,
    space INTEGER NOT NULL,
    limit_key TEXT NOT NULL,
    waiter TEXT NOT NULL,
    address TEXT NOT NULL,                  -- to be rung when it may be its turn
    until_ms INTEGER NOT NULL,
    UNIQUE(space, limit_key, waiter)
);
CREATE INDEX waiters_line ON waiters(space, limit_key, place);

CREATE TABLE letters(
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    queue INTEGER NOT NULL,
    id TEXT NOT NULL,
    reason TEXT NOT NULL,
    died_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    record BLOB,
    body BLOB NOT NULL
);
CREATE INDEX letters_queue ON letters(queue, seq);
CREATE UNIQUE INDEX letters_id ON letters(queue, id);
CREATE INDEX letters_expiry ON letters(expires_ms);

CREATE TABLE consumers(
    id INTEGER PRIMARY KEY,                 -- random, so that none comes back, not even in a new file
    space INTEGER NOT NULL,
    name TEXT NOT NULL,
    address TEXT NOT NULL,                  -- the line of a doorbell to ring when there is something to fetch
    lease_ms INTEGER NOT NULL,
    lease_end_ms INTEGER NOT NULL,
    hunger INTEGER NOT NULL DEFAULT {HUNGER_FOR_ALL},      -- for what it wants to be rung
    about BLOB NOT NULL DEFAULT x'',        -- what it told of itself at its last renewal
    UNIQUE(space, name)
);
CREATE TABLE members(queue INTEGER NOT NULL, consumer INTEGER NOT NULL, PRIMARY KEY(queue, consumer)) WITHOUT ROWID;

CREATE TABLE severed(                       -- deliveries that were withdrawn, until their consumer was told
    consumer INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    fetch INTEGER NOT NULL,
    PRIMARY KEY(consumer, seq, fetch)
) WITHOUT ROWID;

CREATE TABLE listeners(address TEXT PRIMARY KEY, space INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE watchers(
    space INTEGER NOT NULL,
    id TEXT NOT NULL,
    address TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY(space, id, address)
) WITHOUT ROWID;

CREATE TABLE schedules(
    space INTEGER NOT NULL,
    name TEXT NOT NULL,
    next_ms INTEGER,                        -- when it is next due; NULL: it is not
    record BLOB NOT NULL,
    PRIMARY KEY(space, name)
) WITHOUT ROWID;
CREATE INDEX schedules_next ON schedules(space, next_ms, name) WHERE next_ms IS NOT NULL;

CREATE TABLE declared(                      -- schedules that stand in somebody's code, or are about to be kept
    space INTEGER NOT NULL,
    name TEXT NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY(space, name)
) WITHOUT ROWID;

CREATE TABLE schedulers(                    -- to be rung when what is due first has changed
    address TEXT PRIMARY KEY,
    space INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE duties(name TEXT PRIMARY KEY, next_ms INTEGER NOT NULL) WITHOUT ROWID;
"""

NAMES: Final = frozenset(re.findall(r"^CREATE (?:UNIQUE )?\w+ (\w+)", TABLES, re.MULTILINE))
"""Of all that these make. Between two versions that are released, files of a version may have less."""
