"""The embedded store: a maggma store in one SQLite file."""
