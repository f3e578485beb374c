"""The table of ions in one frame of a text format: coordinates, identities, elements."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionsieve.errors import InputError
from ionsieve.md_analysis.byte_numbers import parse_rows, same_words

Bytes = NDArray[np.uint8]


def words_of_rows(content: mmap.mmap, start: int, n_rows: int) -> list[list[bytes]]:
    """Return the words of each row; fewer rows at the end of the text."""
    rows = []
    for _ in range(n_rows):
        end = content.find(b"\n", start)
        if end < 0:
            break
        rows.append(content[start:end].split())
        start = end + 1
    return rows


@dataclass(frozen=True, eq=False)
class IonTable:
    """Where the columns of interest stand, and what the first frame had in them.

    Attributes
    ----------
    coordinates : (int, int, int)
        Columns of x, y, z.
    identity : int or None
        Column of a number that belongs to each ion; rows are sorted by it.
    label : int or None
        Column of the elements (or types), which must stay the same.
    images : (int, int, int) or None
        Columns of the numbers of cells an ion has crossed.
    """

    coordinates: tuple[int, int, int]
    identity: int | None
    label: int | None
    images: tuple[int, int, int] | None
    identities: NDArray[np.float64]
    labels: Bytes
    path: Path

    @classmethod
    def of(
        cls,
        rows: list[list[bytes]],
        path: Path,
        *,
        coordinates: tuple[int, int, int],
        identity: int | None = None,
        label: int | None = None,
        images: tuple[int, int, int] | None = None,
    ) -> IonTable:
        """Learn identities and labels from the words of the first frame.

        Raises
        ------
        InputError
            If two ions have the same identity, or one is no number.
        """
        columns = [*coordinates, *(images or ())]
        columns += [column for column in (identity, label) if column is not None]
        short = next((i for i, row in enumerate(rows) if len(row) <= max(columns)), None)
        if short is not None:
            raise InputError(
                f"{path}: row {short + 1} of the first frame has {len(rows[short])} words, "
                f"{max(columns) + 1} are needed"
            )
        identities = np.empty(0)
        if identity is not None:
            try:
                identities = np.sort([float(row[identity]) for row in rows])
            except ValueError as error:
                raise InputError(f"{path}: an ion's id is no number ({error})") from error
            if (np.diff(identities) == 0).any():
                raise InputError(f"{path} has two ions of the same id in one frame")
        words = [] if label is None else [row[label] for row in rows]
        width = max(map(len, words), default=1)
        labels = np.frombuffer(b"".join(word.ljust(width, b"\0") for word in words), np.uint8)
        return cls(
            coordinates, identity, label, images, identities, labels.reshape(-1, width), path
        )

    def labels_in_order(self, rows: list[list[bytes]]) -> list[str]:
        """Return the first frame's labels, by identity where there is one."""
        assert self.label is not None
        words = [row[self.label].decode("utf-8", errors="replace") for row in rows]
        if self.identity is None:
            return words
        order = np.argsort([float(row[self.identity]) for row in rows], kind="stable")
        return [words[i] for i in order]

    def read(
        self, buffer: Bytes, start: int, n_ions: int, frame: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, int] | None:
        """Return coordinates and images by identity, and the end of the rows; None if cut.

        Raises
        ------
        InputError
            If ions are missing, new, or in another order.
        """
        rows = np.empty((n_ions, 3))
        after = _columns(buffer, start, self.coordinates, rows)
        if after < 0:
            return None
        images = None
        if self.images is not None:
            images = np.empty((n_ions, 3))
            if _columns(buffer, start, self.images, images) < 0:
                return None
        if self.identity is None:
            self._check_labels(buffer, start, n_ions, frame)
            return rows, images, after
        found = np.empty((n_ions, 1))
        parse_rows(buffer, start, self.identity, found)
        order = np.argsort(found[:, 0], kind="stable")
        self._check_identities(found[order, 0], frame)
        return rows[order], None if images is None else images[order], after

    def _check_labels(self, buffer: Bytes, start: int, n_ions: int, frame: int) -> None:
        if self.label is None:
            return
        row = same_words(buffer, start, self.label, n_ions, self.labels)
        if row >= 0:
            wanted = self.labels[row].tobytes().rstrip(b"\0").decode(errors="replace")
            raise InputError(
                f"{self.path}: row {row + 1} of frame {frame} is not {wanted} as in the first "
                "frame; write the ions in the same order, or with ids"
            )

    def _check_identities(self, found: NDArray[np.float64], frame: int) -> None:
        if np.array_equal(found, self.identities):
            return
        lost = np.setdiff1d(self.identities, found)
        new = np.setdiff1d(found, self.identities)
        raise InputError(
            f"{self.path}: frame {frame} lacks {len(lost)} ions of the first frame "
            f"(id {', '.join(f'{i:g}' for i in lost[:4])}) and has {len(new)} others; dump the "
            "same ions in every frame"
        )


def _columns(
    buffer: Bytes, start: int, columns: tuple[int, int, int], out: NDArray[np.float64]
) -> int:
    """Read three columns, not always side by side, and return the end of the rows."""
    first, last = min(columns), max(columns)
    if columns == (first, first + 1, first + 2):
        return int(parse_rows(buffer, start, first, out))
    wide = np.empty((len(out), last - first + 1))
    after = int(parse_rows(buffer, start, first, wide))
    out[:] = wide[:, [column - first for column in columns]]
    return after
