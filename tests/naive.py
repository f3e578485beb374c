"""Slow, obvious twins of every kernel; the fast ones are tested against these.

Sections: Ewald engine, trajectory analysis, mock VASP. Written for the reader, never for speed.
"""
