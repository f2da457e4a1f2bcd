"""asyncq measured beside its peers and beside the floor: `python -m bench`; docs/benchmarks.md says how to read it."""
