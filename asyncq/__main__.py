"""`python -m asyncq` is `asyncq`."""

from asyncq.cli import main

if __name__ == "__main__":
    main(prog_name="asyncq")
