"""Write the collections of a screening into the store, for programs that query the database."""

from __future__ import annotations

from ionsieve.workflows.results.builders import documents_of, items_of
from ionsieve.workflows.results.collections import DEFAULT_COLUMNS
from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.store.opening import open_collection


def publish_collections(results: Results) -> int:
    """Bring the stored collections of a screening up to date.

    Documents that are unchanged are left alone, those of other screenings too; those that the
    present settings no longer ask for are removed.

    Returns
    -------
    int
        How many documents were written.
    """
    name, n_written = results.screening.name, 0
    for collection in DEFAULT_COLUMNS:
        with open_collection(results.screening, collection) as target:
            known = {
                document["document_id"]: document["source_hash"]
                for document in target.query(
                    {"screening": name}, properties=["document_id", "source_hash"]
                )
            }
            items = {
                f"{name}/{item.key}": item
                for item in items_of(collection, results.funnel, results.running)
            }
            stale = [item for id_, item in items.items() if known.get(id_) != item.digest()]
            documents = documents_of(collection, results.funnel, stale)
            if documents:
                target.update(documents, key="document_id")
            if orphans := sorted(set(known) - set(items)):
                target.remove_docs({"document_id": {"$in": orphans}})
            n_written += len(documents)
    return n_written
