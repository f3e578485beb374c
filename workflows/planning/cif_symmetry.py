"""The space group of a CIF block, from every place that may tell it, all held against each other.

A file may give its operations, a Hall symbol, a Hermann-Mauguin symbol and a number. Operations and
Hall symbols say everything; the other two leave the origin or the axes open in some groups, and
then every reading stays a candidate until the atoms decide (:mod:`.cif`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import gemmi
import numpy as np
import spglib
from numpy.typing import NDArray

Float = NDArray[np.float64]

#: Largest relative misfit of a cell to the metric its operations demand.
METRIC_TOLERANCE = 0.01

_OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_HM = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_space_group_name_h-m_ref",
)
_NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")

#: What ICSD writes behind a symbol for the origin, and gemmi's name for it.
_ICSD_SUFFIX = {"S": ":1", "Z": ":2", "H": ":H", "R": ":R"}


class ContradictionError(Exception):
    """What a file says can't be true at once, or can't be read; the message is one line."""


@dataclass(frozen=True)
class Setting:
    """One reading of the symmetry of a file.

    Attributes
    ----------
    name : str
        Hermann-Mauguin symbol with origin or axes, or what the operations came from.
    rotations : (n, 3, 3) int64
        x' = rotation @ x + translation, in fractional coordinates; centring included.
    translations : (n, 3) float64
    """

    name: str
    rotations: NDArray[np.int64]
    translations: Float


def first(tags: dict[str, list[str]], names: Iterable[str]) -> str:
    """Return the first value given under any of some tags; empty if there is none."""
    for name in names:
        for value in tags.get(name, [])[:1]:
            if value.strip() not in ("", "?", "."):
                return value.strip()
    return ""


def read_settings(tags: dict[str, list[str]]) -> tuple[list[Setting], list[str]]:
    """Return every reading of the symmetry that the file allows, and remarks on it.

    Parameters
    ----------
    tags
        Lower-case tag -> values.

    Returns
    -------
    settings
        More than one only where a symbol leaves the origin or the axes open; empty if the file
        says nothing about symmetry.
    notes
        What was decided, to be told to the user.

    Raises
    ------
    ContradictionError
        Two of the places disagree, or one can't be understood.
    """
    written = next((tags[name] for name in _OPERATIONS if tags.get(name)), [])
    hall, symbol, number = first(tags, _HALL), first(tags, _HM), first(tags, _NUMBER)
    named = _by_symbol(symbol) if symbol else []
    hall_setting = _by_hall(hall) if hall else None
    it_number = _parse_number(number) if number else None
    if written:
        operations = _by_operations(written)
        _agree(operations, hall, hall_setting, symbol, named, it_number)
        return [operations], _setting_note(operations, symbol, named)
    if hall_setting is not None:
        _agree(hall_setting, "", None, symbol, named, it_number)
        return [hall_setting], _setting_note(hall_setting, symbol, named)
    if symbol and not named and it_number is None:
        raise ContradictionError(
            f"space group '{symbol}' is not known and there are no operations: write its "
            "Hermann-Mauguin symbol, such as 'P 21/c', or the operations"
        )
    if symbol and not named and it_number is not None:
        raise ContradictionError(
            f"space group '{symbol}' is not known, number {it_number} says "
            f"'{gemmi.find_spacegroup_by_number(it_number).hm}': correct one of them"
        )
    if named:
        if it_number is not None and named[0].number != it_number:
            raise ContradictionError(
                f"space group '{symbol}' has number {named[0].number}, the file says {it_number}: "
                "correct one of them"
            )
        return [_of_group(group) for group in named], []
    if it_number is not None:
        standard = gemmi.find_spacegroup_by_number(it_number)
        groups = [g for g in gemmi.spacegroup_table() if g.number == it_number]
        same = [g for g in groups if g.hm == standard.hm]
        return [_of_group(group) for group in same], [
            f"only the number {it_number} is given: read in the standard setting {standard.hm}"
        ]
    return [], []


def _parse_number(text: str) -> int:
    if not re.fullmatch(r"\d{1,3}", text) or not 1 <= int(text) <= 230:
        raise ContradictionError(f"space-group number '{text}' is not between 1 and 230")
    return int(text)


def _by_symbol(symbol: str) -> list[gemmi.SpaceGroup]:
    """Return the groups a Hermann-Mauguin symbol may mean: several if the origin is open."""
    for text in _spellings(symbol):
        found = gemmi.find_spacegroup_by_name(text)
        if found is None:
            continue
        if re.search(r":\s*[12HhRr]\s*$", text):
            return [found]
        return [g for g in gemmi.spacegroup_table() if g.hm == found.hm]
    return []


def _spellings(symbol: str) -> Iterator[str]:
    """Yield a symbol as it stands, then as other programs and older tables write it."""
    plain = " ".join(symbol.replace("_", "").replace("(", " ").replace(")", " ").split())
    plain = re.sub(r"\s*:\s*", ":", plain)
    yield plain
    tokens = plain.split()
    if tokens and tokens[-1].upper() in _ICSD_SUFFIX and len(tokens) > 2:
        base = " ".join(tokens[:-1])
        yield base + _ICSD_SUFFIX[tokens[-1].upper()]
        yield base  # ICSD's H also stands behind groups that have one setting
    if len(tokens) > 1:
        # Full symbols: 'F 4/m -3 2/m' is F m -3 m, 'P 4/n 21/m 2/m' is P 4/n m m.
        def short(token: str) -> str:
            return re.sub(r"^[2346][1-5]?/", "", token)

        yield " ".join([*tokens[:2], *map(short, tokens[2:])])
        yield " ".join([tokens[0], *map(short, tokens[1:])])


def _of_group(group: gemmi.SpaceGroup) -> Setting:
    return _of_operations(group.xhm(), list(group.operations()))


def _of_operations(name: str, operations: list[gemmi.Op]) -> Setting:
    rotations = np.array([op.rot for op in operations], dtype=np.int64) // gemmi.Op.DEN
    translations = np.array([op.tran for op in operations], dtype=float) / gemmi.Op.DEN
    return Setting(name, rotations, translations % 1.0)


def _by_hall(hall: str) -> Setting:
    try:
        operations = list(gemmi.symops_from_hall(hall))
    except (ValueError, RuntimeError) as error:
        raise ContradictionError(f"Hall symbol '{hall}' can't be read ({error})") from error
    return _of_operations(f"Hall symbol {hall}", operations)


def _by_operations(written: list[str]) -> Setting:
    operations = []
    for text in written:
        try:
            operations.append(gemmi.Op(text.replace(" ", "").strip("'\"")))
        except (ValueError, RuntimeError) as error:
            raise ContradictionError(f"symmetry operation '{text}' can't be read") from error
    unique = list({op.wrap().triplet(): op.wrap() for op in operations}.values())
    setting = _of_operations("the operations", unique)
    if not _is_group(setting):
        raise ContradictionError(
            f"the {len(unique)} symmetry operations are no group: the list is incomplete, or one "
            "of them is wrong"
        )
    return setting


def _is_group(setting: Setting) -> bool:
    """Return whether every two operations, one after the other, are one of the list."""
    rotations, shifts = setting.rotations, np.round(setting.translations * 24).astype(np.int64)
    products = np.einsum("aij,bjk->abik", rotations, rotations).reshape(-1, 9)
    moved = (np.einsum("aij,bj->abi", rotations, shifts) + shifts[:, None]).reshape(-1, 3) % 24
    made = {row.tobytes() for row in np.hstack([products, moved])}
    given = {row.tobytes() for row in np.hstack([rotations.reshape(-1, 9), shifts % 24])}
    return made == given


def _key(setting: Setting) -> frozenset[tuple[int, ...]]:
    shifts = np.round(setting.translations * 24).astype(int) % 24
    return frozenset(
        (*map(int, rotation.ravel()), *map(int, shift))
        for rotation, shift in zip(setting.rotations, shifts, strict=True)
    )


def group_number(setting: Setting) -> int | None:
    """Return the space-group number of some operations in any setting; None if unknown."""
    try:
        found = spglib.get_spacegroup_type_from_symmetry(setting.rotations, setting.translations)
    except Exception:  # spglib raises or returns None, as a switch says
        return None
    return None if found is None else int(found.number)


def _agree(
    setting: Setting,
    hall: str,
    hall_setting: Setting | None,
    symbol: str,
    named: list[gemmi.SpaceGroup],
    number: int | None,
) -> None:
    """Raise if operations (or a Hall symbol) contradict what else the file says."""
    if hall_setting is not None and _key(hall_setting) != _key(setting):
        raise ContradictionError(
            f"{setting.name} ({len(setting.rotations)}) and the Hall symbol '{hall}' "
            f"({len(hall_setting.rotations)} operations) are different groups or have different "
            "origins: correct one of them"
        )
    found = group_number(setting)
    if found is None:
        return
    if number is not None and found != number:
        raise ContradictionError(
            f"{setting.name} are those of space group {found} "
            f"({gemmi.find_spacegroup_by_number(found).hm}), the file says number {number}: "
            "correct one of them"
        )
    if named and named[0].number != found:
        raise ContradictionError(
            f"{setting.name} are those of space group {found} "
            f"({gemmi.find_spacegroup_by_number(found).hm}), the file says '{symbol}': "
            "correct one of them"
        )
    if ":" in symbol and len(named) == 1 and _key(_of_group(named[0])) != _key(setting):
        raise ContradictionError(
            f"{setting.name} do not have the origin or the axes of '{symbol}': correct one of them"
        )


def _setting_note(setting: Setting, symbol: str, named: list[gemmi.SpaceGroup]) -> list[str]:
    if symbol and not named:
        return [f"space group '{symbol}' is not a symbol known here: {setting.name} are used"]
    if named and all(_key(_of_group(group)) != _key(setting) for group in named):
        return [f"{setting.name} are in another setting than '{symbol}': they are used"]
    return []


def metric_problem(lattice: Float, setting: Setting) -> str:
    """Say so if a cell does not have the shape its operations demand.

    Parameters
    ----------
    lattice : (3, 3) float64, Angstrom
        Cell vectors as rows.
    setting
    """
    metric = lattice @ lattice.T
    images = np.einsum("nji,jk,nkl->nil", setting.rotations, metric, setting.rotations)
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    if float(np.abs((images - metric) / scale).max()) <= 2 * METRIC_TOLERANCE:
        return ""
    return f"the cell does not have the shape that {setting.name} demands: correct one of them"
