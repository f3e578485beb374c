"""Numbers given as options: finite and within their limits."""

from __future__ import annotations

import math
from typing import Any

import click


class Number(click.FloatRange):
    """A finite number within limits; click's own range lets nan through.

    Parameters
    ----------
    min, max
        Least and largest value; None is no limit.
    min_open
        The least value itself is refused.
    """

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or explain what it must be."""
        number: float = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return float(super().convert(number, param, ctx))


#: A number above zero, below what any length, time or temperature here can be.
POSITIVE = Number(min=0, max=1e9, min_open=True)
#: The same, or zero.
NOT_NEGATIVE = Number(min=0, max=1e9)
#: A seed of random numbers.
SEED = click.IntRange(0, 2**32 - 1)
