"""What people ask of the store: collections, queries, counts."""
