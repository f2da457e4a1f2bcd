"""A small real service: people upload CSV files, a worker reports on them.

`app` answers HTTP, `tasks` is what the worker runs; `demo` and `serve` start both.
"""
