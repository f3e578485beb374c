"""Which settings differ from those that a screening was last run with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jobflow import JobStore

from ionsieve.workflows.documents.raw import ScreeningDocument
from ionsieve.workflows.settings.schema import ScreeningFile

#: How and where the work is done changes no result.
_WITHOUT_RESULT = ("compute", "name")


@dataclass(frozen=True)
class SettingChange:
    """One setting that is newer than the last run.

    Attributes
    ----------
    name
        Where it stands in screening.yaml.
    was, now
        Value of the last run, and of the file.
    """

    name: str
    was: Any
    now: Any

    def __str__(self) -> str:
        """Return the change in words."""
        return f"{self.name}: {self.was} when last run, {self.now} now"


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
    return [
        SettingChange(name, one.get(name), two.get(name))
        for name in sorted({*one, *two})
        if one.get(name) != two.get(name) and name.split(".")[0] not in _WITHOUT_RESULT
    ]


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
