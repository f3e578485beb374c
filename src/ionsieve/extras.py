"""Which extra of the distribution brings a package that is not installed."""

from __future__ import annotations

#: Extra -> the packages it brings, by the names they are imported under.
EXTRAS = {
    "workflows": frozenset(
        {
            "ase",
            "atomate2",
            "custodian",
            "emmet",
            "jinja2",
            "jobflow",
            "maggma",
            "mongomock_ng",
            "monty",
            "orjson",
            "phonopy",
            "pydantic",
            "pydantic_core",
            "pymongo",
            "rich",
            "seekpath",
            "yaml",
        }
    ),
    "cluster": frozenset({"fireworks"}),
    "plot": frozenset({"matplotlib"}),
    "formats": frozenset({"MDAnalysis"}),
    "mpi": frozenset({"mpi4py"}),
    "notebooks": frozenset({"ipykernel", "nbclient", "nbformat"}),
}


def explain_missing(error: ModuleNotFoundError) -> str | None:
    """Return what to type when an extra is not installed; None where none brings the package."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in EXTRAS.items():
        if package in packages:
            return (
                f"this needs {package}, which is not installed; type: "
                f'pip install "ionsieve[{extra}]"'
            )
    return None
