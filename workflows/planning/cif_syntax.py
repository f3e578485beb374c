"""The syntax of CIFs: data blocks, tags and values, and what to keep of a file that breaks it."""

from __future__ import annotations

import re
from typing import Any

import gemmi

#: Tags that tell a crystal.
_CRYSTAL = (
    "_cell_",
    "_symmetry_",
    "_space_group",
    "_atom_site_",
    "_atom_site.",
    "_atom_type_",
    "_chemical_formula_",
    "_exptl_crystal_density",
    "_database_code",
    "_cod_database_code",
)


def split_blocks(text: str) -> list[str]:
    """Return the text of each data block; ``data_`` inside a text field starts none."""
    blocks: list[list[str]] = []
    in_text_field = False
    for line in text.splitlines():
        if line.startswith(";"):
            in_text_field = not in_text_field
        if re.match(r"\s*data_", line, flags=re.IGNORECASE) and not in_text_field:
            blocks.append([])
        if blocks:
            blocks[-1].append(line)
    return ["\n".join(lines) + "\n" for lines in blocks]


def read_tags(text: str) -> dict[str, list[str]]:
    """Return lower-case tag -> values; the dots of newer dictionaries become underscores.

    Raises
    ------
    ValueError, RuntimeError
        gemmi finds the syntax wrong.
    """
    block: Any = gemmi.cif.read_string(text)[0]
    tags: dict[str, list[str]] = {}
    for item in block:
        if item.pair is not None:
            tag, value = item.pair
            tags[_tag(tag)] = [gemmi.cif.as_string(value)]
        elif item.loop is not None:
            for column, tag in enumerate(item.loop.tags):
                values = [
                    gemmi.cif.as_string(item.loop[row, column]) or _null(item.loop[row, column])
                    for row in range(item.loop.length())
                ]
                tags[_tag(tag)] = values
    return tags


def _tag(tag: str) -> str:
    return tag.lower().replace(".", "_")


def _null(text: str) -> str:
    return text if text in ("?", ".") else ""


def crystal_part(text: str) -> str:
    """Return a data block without all that does not tell the crystal.

    Names, titles and addresses are where files break the syntax, mostly for want of quotes.
    """
    kept: list[str] = []
    loops: list[tuple[list[str], list[str]]] = []
    is_loop = in_text = False
    for line in text.splitlines():
        if line.startswith(";"):
            in_text = not in_text
            continue
        words = line.split()
        if in_text or not words or words[0].startswith("#"):
            continue
        first = words[0].lower()
        if first == "loop_":
            loops.append(([], []))
            is_loop = True
        elif first.startswith("_") and is_loop and not loops[-1][1]:
            loops[-1][0].append(line.strip())
        elif first.startswith("_"):
            is_loop = False
            if len(words) > 1 and first.startswith(_CRYSTAL):
                kept.append(line)
        elif first.startswith("data_"):
            kept.append(line)
        elif is_loop:
            loops[-1][1].append(line)
    for tags, rows in loops:
        if rows and all(tag.lower().startswith(_CRYSTAL) for tag in tags):
            kept += ["loop_", *tags, *rows]
    return "\n".join(kept) + "\n"
