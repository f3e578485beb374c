"""Which settings differ from those that a screening was last run with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jobflow import JobStore

from ionsieve.workflows.documents.raw import ScreeningDocument
from ionsieve.workflows.settings.backend_section import backend_class
from ionsieve.workflows.settings.roles import Role, leaves, role_of
from ionsieve.workflows.settings.schema import Screening, ScreeningFile

#: What has to happen before results are those of the new value.
_EFFECTS: dict[Role, str] = {
    "computes": "computed anew by the next run",
    "analyses": "analysed anew by the next run",
    "extends": "continued or added to by the next run",
    "judges": "already judged by the new value",
    "plans": "other compositions may be asked for",
}


@dataclass(frozen=True)
class SettingChange:
    """One setting that is newer than the last run.

    Attributes
    ----------
    name
        Where it stands in screening.yaml.
    was, now
        Value of the last run, and of the file.
    effect
        What it means for the results, in words.
    """

    name: str
    was: Any
    now: Any
    effect: str = ""

    def __str__(self) -> str:
        """Return the change in words."""
        words = f"{self.name}: {self.was} when last run, {self.now} now"
        return f"{words} ({self.effect})" if self.effect else words


@dataclass(frozen=True)
class StoredSettings:
    """Settings that were run: the screening's name, when, and what was asked for."""

    name: str
    recorded_at: str
    sequence: int
    key: str
    settings: Mapping[str, Any]


def stored_settings(job_store: JobStore, name: str | None = None) -> list[StoredSettings]:
    """Return all settings that were run, from old to new.

    Parameters
    ----------
    name
        Of a screening; None: of all in the store.
    """
    criteria: dict[str, Any] = {"metadata.document": ScreeningDocument.__name__}
    if name is not None:
        criteria["metadata.screening"] = name
    properties = ["output", "completed_at", "sequence", "metadata"]
    found = [
        StoredSettings(
            name=raw["output"]["name"],
            recorded_at=str(raw.get("completed_at") or ""),
            sequence=int(raw.get("sequence") or 0),
            key=raw["metadata"]["key"],
            settings=raw["output"]["settings"],
        )
        for raw in job_store.query(criteria, properties)
    ]
    return sorted(found, key=lambda entry: (entry.sequence, entry.recorded_at))


def changes_since_run(screening: ScreeningFile, job_store: JobStore) -> list[SettingChange]:
    """Return the settings that differ from the last run of this screening; none before it."""
    runs = stored_settings(job_store, screening.name)
    if not runs:
        return []
    return differences(runs[-1].settings, screening.model_dump(mode="json"))


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[SettingChange]:
    """Return the settings that differ between two, by name."""
    one, two = dict(_flat(was)), dict(_flat(now))
    roles = _roles(now["backend"]["name"])
    return [
        SettingChange(name, one.get(name), two.get(name), _EFFECTS.get(role, ""))
        for name in sorted({*one, *two})
        # How and where the work is done changes no result.
        if one.get(name) != two.get(name) and (role := _role(name, roles)) != "runs"
    ]


def _roles(backend: str) -> dict[str, Role | None]:
    found = [*leaves(Screening), *leaves(backend_class(backend).Settings, "backend.")]
    return {path: role_of(model, name) for path, model, name in found}


def _role(name: str, roles: Mapping[str, Role | None]) -> Role:
    """Return the role of a setting; parts of lists and other backends' settings compute."""
    parts = name.split(".")
    paths = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((role for path in paths if (role := roles.get(path))), "computes")


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
