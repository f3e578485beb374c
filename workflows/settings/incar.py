"""Checks of INCAR tags that a user overrides, before anything runs."""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Mapping
from typing import Any

from pymatgen.io.vasp.inputs import BadIncarWarning, Incar

#: Tag -> type and values; pymatgen's table.
_TAGS: dict[str, Any] = {str(tag): entry for tag, entry in Incar.INCAR_PARAMS.items()}
_STAGE = "the stage sets it; leave it out"
#: Tags that decide what kind of calculation a stage is -> what to do instead.
_SET_BY_STAGES = {
    "NSW": "the stage sets it; lengths of runs are short_md.length_ps and long_md.length_ps",
    "POTIM": "set timestep_fs of short_md or long_md",
    "TEBEG": "set temperature_k of short_md or long_md",
    "TEEND": "set temperature_k of short_md or long_md",
    "NBLOCK": "set frame_fs of short_md or long_md",
    "RANDOM_SEED": "set seed of short_md or long_md",
    **dict.fromkeys(
        (
            *("IBRION", "ISIF", "NFREE", "MDALGO", "SMASS", "KBLOCK", "PSTRESS", "LEFG"),
            *("LANGEVIN_GAMMA", "LANGEVIN_GAMMA_L", "ANDERSEN_PROB", "NHC_NCHAINS", "NHC_PERIOD"),
            *("CSVR_PERIOD", "PMASS", "IMAGES", "SPRING", "ICHAIN", "LCLIMB", "ICONST"),
            *("PHON_NSTRUCT", "INCREM", "NPACO", "APACO", "SCALEE", "VCUTOFF", "TSUBSYS"),
            *("ML_LMLFF", "ML_MODE", "ML_ISTART", "ML_OUTBLOCK"),
        ),
        _STAGE,
    ),
}
#: Tags whose values pymatgen only knows the type of -> least and largest value that make sense.
_LIMITS = {
    "ENCUT": (50, 5000),
    "ENAUG": (50, 10_000),
    "EDIFF": (1e-12, 1),
    "EDIFFG": (-10, 10),
    "NELM": (1, 10_000),
    "NELMIN": (0, 10_000),
    "SIGMA": (0, 10),
    "NBANDS": (1, 1_000_000),
    "NCORE": (1, 100_000),
    "NPAR": (1, 100_000),
    "KPAR": (1, 100_000),
    "NSIM": (1, 10_000),
    "KSPACING": (0.01, 5),
    "AMIX": (0, 10),
    "BMIX": (0, 10),
    "TIME": (0, 100),
}
#: Values that VASP has learnt since pymatgen's table was written.
_NEWER_VALUES: dict[str, set[str | int]] = {
    "METAGGA": {"RSCAN", "R2SCAN", "RSCANL", "R2SCANL", "SCANL", "OFR2", "LIBXC", "MSB86BL"},
    "IVDW": {3, 4, 13, 14, 263},
}
#: Tags that pymatgen's input sets take by element, such as {Fe: 5}.
_BY_ELEMENT = {"MAGMOM", "LDAUU", "LDAUJ", "LDAUL"}


def check_incar(tags: Mapping[str, Any]) -> None:
    """Check INCAR tags that override those of the input sets.

    Parameters
    ----------
    tags
        Tag -> value, as YAML gives it; None takes a tag out.

    Raises
    ------
    ValueError
        A tag is unknown, of the wrong type, out of its limits, or the stages' own; one line.
    """
    for tag, value in tags.items():
        if tag in _SET_BY_STAGES:
            raise ValueError(f"INCAR tag {tag} can't be overridden: {_SET_BY_STAGES[tag]}")
        if tag not in _TAGS:
            raise ValueError(_unknown(tag))
        if value is not None:
            _check_value(tag, value)


def _unknown(tag: str) -> str:
    if tag.upper() in (*_TAGS, *_SET_BY_STAGES):
        return f"INCAR tag {tag!r}: write it as {tag.upper()}"
    near = difflib.get_close_matches(tag.upper(), _TAGS, n=1)
    hint = f"did you mean {near[0]}?" if near else "see VASP's list of tags"
    return f"INCAR tag {tag!r} is unknown to pymatgen; {hint}"


def _check_value(tag: str, value: Any) -> None:
    numbers = [n for n in _flat(value) if isinstance(n, (int, float)) and not isinstance(n, bool)]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"INCAR tag {tag} = {value!r}: give a finite number")
    low, high = _LIMITS.get(tag, (-1e12, 1e12))
    if not all(low <= number <= high for number in numbers):
        raise ValueError(f"INCAR tag {tag} = {value!r}: give {low:g} to {high:g}")
    if isinstance(value, str) and ("\n" in value or not value.isprintable() or not value.strip()):
        raise ValueError(f"INCAR tag {tag} = {value!r}: give one line of text")
    if isinstance(value, Mapping) and tag in _BY_ELEMENT:
        if len(numbers) < len(value) or not value:
            raise ValueError(f"INCAR tag {tag} = {value!r}: give a number for each element")
        return
    kind = str(_TAGS[tag].get("type"))
    if isinstance(value, bool) and "bool" not in kind:
        # To Python, true is an int.
        raise ValueError(f"INCAR tag {tag} = {value!r}: it is no {kind}")
    if isinstance(value, float) and kind == "int":
        raise ValueError(f"INCAR tag {tag} = {value!r}: give a whole number")
    if isinstance(value, int) and kind == "float":
        value = float(value)
    if isinstance(value, (str, int)):
        name = value.upper() if isinstance(value, str) else value
        if name in _NEWER_VALUES.get(tag, ()):
            return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BadIncarWarning)
        Incar({tag: value}).check_params()
    for warning in caught:
        if issubclass(warning.category, BadIncarWarning):
            raise ValueError(f"INCAR tag {tag} = {value!r}: {warning.message}; see VASP's manual")


def _flat(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [one for entry in value.values() for one in _flat(entry)]
    if isinstance(value, (list, tuple)):
        return [one for entry in value for one in _flat(entry)]
    return [value]
