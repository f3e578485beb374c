"""Errors that whoever opens a store may want to tell apart."""

from __future__ import annotations

from ionsieve.errors import InputError


class NothingStoredError(InputError):
    """A store is asked for results before there are any."""

    @classmethod
    def of(cls, store: str) -> NothingStoredError:
        """Return the error for a store, named by its path or address."""
        return cls(f"store {store}: nothing has run yet; start with `ionsieve run`")
