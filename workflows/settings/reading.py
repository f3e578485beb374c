"""Read a screening.yaml; what is wrong with it becomes one line with the remedy."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ionsieve.errors import InputError
from ionsieve.workflows.settings.schema import Screening


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys allowed where an unknown key was found."""
    model: Any = Screening
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        arguments = getattr(annotation, "__args__", ())
        model = next((a for a in (annotation, *arguments) if hasattr(a, "model_fields")), None)
        if model is None:
            return []
    return [name for name in model.model_fields if name != "root"]


def _explain(error: ValidationError, path: Path) -> str:
    """Turn the first validation error into one line with the remedy."""
    first = error.errors()[0]
    location = first["loc"]
    where = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        known = _known_keys(location)
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"{path}: unknown key '{where}'; {hint}"
    if first["type"] == "missing":
        return f"{path}: '{where}' is missing; add it (ionsieve init writes a complete example)"
    return f"{path}: '{where}' = {first['input']!r}: {first['msg']}"


def read_screening(path: str | Path) -> Screening:
    """Read and validate a screening.yaml.

    Raises
    ------
    InputError
        The file can't be read, is not YAML, or a key or value is wrong; the message names it.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give the path of a screening.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(error).replace("\n", " ")
        raise InputError(f"{path}: not valid YAML ({reason})") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected sections such as 'mothers:', got {type(data).__name__}")
    try:
        return Screening(**{**data, "root": path.resolve().parent})
    except ValidationError as error:
        raise InputError(_explain(error, path)) from error
