"""Objects are rebuilt from stored documents only if their modules are known.

A document can name a module and a class (``@module``, ``@class``), and monty imports the one and
calls the other's ``from_dict``. A store that somebody else wrote could so run any code. Documents
are therefore checked on their way out of a store, before jobflow or anything else decodes them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from monty.json import MontyDecoder, MSONable

from ionsieve.errors import IonSieveError

#: Packages whose classes job outputs and settings are made of; also everything inside of them.
KNOWN_PACKAGES = frozenset(
    {
        "ase",
        "atomate2",
        "bson",
        "custodian",
        "datetime",
        "emmet",
        "fireworks",
        "ionsieve",
        "jobflow",
        "maggma",
        "monty",
        "numpy",
        "pandas",
        "pathlib",
        "phonopy",
        "pymatgen",
        "uuid",
    }
)

#: Further packages or modules, separated by commas.
VARIABLE = "IONSIEVE_ALLOWED_MODULES"

_BACKENDS = "ionsieve.backends"

T = TypeVar("T")


class ForbiddenModuleError(IonSieveError):
    """A document asks for a class of a module that is not among those allowed."""


def check_modules(document: T, where: str) -> T:
    """Return a document if all modules it names are allowed.

    Parameters
    ----------
    document
        Dicts, lists and scalars.
    where
        What the document is, for the message.

    Raises
    ------
    ForbiddenModuleError
        Naming the module, and how to allow it.
    """
    for module in _named_modules(document):
        if not is_allowed(module):
            raise ForbiddenModuleError(
                f"{where}: a document asks for the module {module!r}, which is not among those "
                f"allowed; decoding it would run its code. If you trust it, set {VARIABLE}={module}"
            )
    return document


def is_allowed(module: object) -> bool:
    """Return whether objects of a module may be rebuilt."""
    if not isinstance(module, str):
        return False
    return _is_inside(module, _allowed(os.environ.get(VARIABLE, "")))


def decode(document: Any, where: str = "document") -> Any:
    """Rebuild the objects in a document, as monty does, if their modules are allowed.

    Raises
    ------
    ForbiddenModuleError
        Before anything is imported.
    """
    return MontyDecoder().process_decoded(check_modules(document, where))


def decode_json(text: str, where: str = "document") -> Any:
    """Rebuild the objects in JSON text, as ``json.loads(text, cls=MontyDecoder)`` does.

    Raises
    ------
    ForbiddenModuleError
        Before anything is imported.
    """
    return decode(_Plain().decode(text), where)


class _Plain(MontyDecoder):
    """Reads what monty reads, times and ids included, and rebuilds no objects."""

    def process_decoded(self, d: Any) -> Any:
        return d


def _named_modules(value: Any) -> Iterator[object]:
    """Find what monty would import for a document and everything in it."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield from _imported_for(item)
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)


def _imported_for(item: dict[Any, Any]) -> Iterator[object]:
    if "@module" not in item:
        return
    module, name = item["@module"], item.get("@class")
    if "@class" not in item:
        if "@callable" in item:
            yield module
    elif module and name:  # jobflow writes empty ones for "nothing"
        yield module
        if isinstance(module, str) and isinstance(name, str):
            yield MSONable.REDIRECT.get(module, {}).get(name, item)["@module"]


@cache
def _allowed(further: str) -> frozenset[str]:
    names = {name.strip() for name in further.split(",")} - {""}
    return KNOWN_PACKAGES | names | _backend_packages()


def _backend_packages() -> frozenset[str]:
    """Return the packages of installed backends: whoever installed them trusts them."""
    return frozenset(point.module.partition(".")[0] for point in entry_points(group=_BACKENDS))


def _is_inside(module: str, packages: frozenset[str]) -> bool:
    parts = module.split(".")
    return any(".".join(parts[: depth + 1]) in packages for depth in range(len(parts)))
