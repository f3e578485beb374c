"""The ``backend:`` section: its name picks the backend, whose own model validates the rest.

Backends are found by their entry points, so that a package of its own can bring one; nothing here
imports one before its name is read.
"""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from ionsieve.errors import InputError
from ionsieve.workflows.settings.roles import setting
from ionsieve.workflows.settings.section import Section

#: The group of entry points that backends are declared in.
GROUP = "ionsieve.backends"
#: What a screening without a ``backend:`` section is computed with.
DEFAULT = "mock_vasp"


class BackendSection(Section):
    """The engine that computes energies and forces; each backend's settings derive from this."""

    name: str = setting("computes", DEFAULT, "which backend")


def _declared() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    return found


def backend_names() -> list[str]:
    """Return the names of all installed backends."""
    return sorted(_declared())


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def _suggestion(word: str, known: list[str], what: str) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"{what}: {', '.join(known)}"


def backend_class(name: str) -> Any:
    """Return the class of an installed backend; see :class:`..backends.protocol.Backend`.

    Raises
    ------
    InputError
        There is no such backend, two packages offer it, or its package is broken; one line.
    """
    declared = _declared()
    if not declared:
        raise InputError("no backend is installed; reinstall ionsieve (pip install ionsieve)")
    points = declared.get(name)
    if points is None:
        hint = _suggestion(name, sorted(declared), "known backends")
        raise InputError(f"there is no backend '{name}'; {hint}")
    point, *others = points
    if any(other.value != point.value for other in others):
        packages = " and ".join(_package(p) for p in points)
        raise InputError(f"backend '{name}' is offered by {packages}; uninstall one of them")
    try:
        found = point.load()
        settings = found.Settings
    except Exception as error:
        # Another package's code runs on import: whatever it raises is a fault of that package.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"backend '{name}' of the package {_package(point)} can't be loaded ({reason}); repair "
            "or uninstall that package"
        ) from error
    if not (isinstance(settings, type) and issubclass(settings, BackendSection)):
        raise InputError(
            f"backend '{name}' of the package {_package(point)} can't be used: its Settings are no "
            "BackendSection; repair or uninstall that package"
        )
    return found


def _error(place: tuple[int | str, ...], value: Any, kind: str, message: str) -> InitErrorDetails:
    # Braces would be taken for places of a template.
    text = PydanticCustomError(kind, "{message}", {"message": message})  # type: ignore[type-var]
    return InitErrorDetails(type=text, loc=place, input=value)


def _unknown_keys(
    error: ValidationError, name: str, settings: type[BackendSection]
) -> ValidationError | None:
    """Return the errors about keys that the section doesn't have, with those that it has."""
    known = list(settings.model_fields)
    details = [
        _error(
            found["loc"],
            found["input"],
            "backend_key",
            f"unknown key of the backend '{name}'; "
            + _suggestion(str(found["loc"][0]), known, "known keys"),
        )
        for found in error.errors()
        if found["type"] == "extra_forbidden" and len(found["loc"]) == 1
    ]
    return ValidationError.from_exception_data("backend", details) if details else None


def read_backend_section(value: Any) -> Any:
    """Return the settings of the backend that a section names.

    Parameters
    ----------
    value
        The section as a mapping, or already validated settings.

    Raises
    ------
    pydantic.ValidationError
        The name, a key or a value is wrong; unknown keys name the nearest known one.
    InputError
        The package of the backend is broken.
    """
    if isinstance(value, BackendSection):
        return value
    if not isinstance(value, dict):
        raise ValueError("give a section with the name of a backend and its settings")
    # Monty adds these when it writes a job.
    keys = {key: entry for key, entry in value.items() if not str(key).startswith("@")}
    name = keys.setdefault("name", DEFAULT)
    known = backend_names()
    if known and name not in known:
        message = f"no such backend; {_suggestion(str(name), known, 'known backends')}"
        details = [_error(("name",), name, "backend_name", message)]
        raise ValidationError.from_exception_data("backend", details)
    settings = backend_class(name).Settings
    try:
        return settings.model_validate(keys)
    except ValidationError as error:
        if (unknown := _unknown_keys(error, name, settings)) is not None:
            raise unknown from error
        raise


#: The field of the screening: dumped with all keys of the backend's own model.
AnyBackendSection = Annotated[SerializeAsAny[BackendSection], BeforeValidator(read_backend_section)]
