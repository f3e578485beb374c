"""``python -m ionsieve``, so that ``python -m mpi4py -m ionsieve rank`` works."""

from ionsieve.workflows.cli import main

if __name__ == "__main__":
    main()
