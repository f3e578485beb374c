"""Competing phases and the convex hull."""
