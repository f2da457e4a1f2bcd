"""The libraries under test, one small module each, run in processes of their own.

What lies here is imported by the Python of the peer's own environment, which has no asyncq: only the standard library,
uvloop and the one library that the module is named for.
"""
