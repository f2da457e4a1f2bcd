"""A process that dies, or stands still, in the middle of a transaction.

It says "locked" when it holds the file, and rolls back at the end of its input.

Usage: python -m tests.chaos.writer PATH
"""

import sqlite3
import sys
from contextlib import closing

if __name__ == "__main__":
    with closing(sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)) as file:
        file.execute("BEGIN IMMEDIATE")
        file.execute("UPDATE calls SET priority = 9 - priority, due_ms = due_ms + 3600000")
        print("locked", flush=True)
        sys.stdin.read()
        file.execute("ROLLBACK")
