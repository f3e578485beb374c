"""The HTML report of a screening."""
