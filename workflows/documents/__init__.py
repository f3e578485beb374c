"""Schemas of what is stored: raw job outputs, and the collections people query."""
