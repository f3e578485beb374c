"""Small trajectory files, written as the programs themselves write them."""

import numpy as np
import pytest

from ionsieve.errors import InputError
from ionsieve.md_analysis import ReadOptions, read_trajectory

N_FRAMES, EDGE = 40, 12.0
SPECIES = ["Na"] * 3 + ["S"] * 2
CELL = EDGE * np.eye(3)
TILTED = np.array([[12.0, 0, 0], [5.0, 12.0, 0], [1.0, 2.0, 12.0]])
GENERAL = np.array([[12.0, 1.0, 2.0], [3.0, 12.0, 4.0], [2.0, 5.0, 12.0]])


def walk(cell=CELL, n_frames=N_FRAMES, seed=0):
    """Paths that cross the cell's faces, Angstrom."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.4, (n_frames, len(SPECIES), 3))
    return rng.random((len(SPECIES), 3)) @ cell + np.cumsum(steps, axis=0)


def wrapped(paths, cell=CELL):
    return (paths @ np.linalg.inv(cell)) % 1.0


def assert_same_paths(found, paths, cell=CELL, atol=2e-4):
    moved = (found.fractional - found.fractional[:, :, :1]).transpose(2, 0, 1) @ cell
    np.testing.assert_allclose(moved, paths - paths[0], atol=atol)


def refuse(path, *words, **options):
    with pytest.raises(InputError) as caught:
        read_trajectory(path, ReadOptions(**options))
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def xdatcar(path, frames, numbers, header_at=(0,)):
    text = ""
    for i, (frame, number) in enumerate(zip(frames, numbers, strict=True)):
        if i in header_at:
            text += f"Na S\n 1.0\n {EDGE} 0 0\n 0 {EDGE} 0\n 0 0 {EDGE}\n   Na   S \n    3    2\n"
        text += f"Direct configuration={number:6d}\n"
        text += "".join("  {:.8f}  {:.8f}  {:.8f}\n".format(*row) for row in frame)
    path.write_text(text)
    return path


def dump(path, paths, cell=CELL, columns="id element x y z", box=None, head="", every=100):
    rng = np.random.default_rng(0)
    fractional = wrapped(paths, cell)
    text = ""
    for i, frame in enumerate(fractional):
        text += head.format(time=i * 0.2) if head else ""
        text += f"ITEM: TIMESTEP\n{i * every}\nITEM: NUMBER OF ATOMS\n{len(SPECIES)}\n"
        text += box or "ITEM: BOX BOUNDS pp pp pp\n" + f"0 {EDGE}\n" * 3
        text += f"ITEM: ATOMS {columns}\n"
        order = rng.permutation(len(SPECIES)) if "id" in columns else range(len(SPECIES))
        images = np.floor(paths[i] @ np.linalg.inv(cell)).astype(int)
        for ion in order:
            words = {"id": ion + 1, "element": SPECIES[ion], "type": 1 + (SPECIES[ion] == "S")}
            place = {"": frame[ion] @ cell, "u": paths[i, ion], "s": frame[ion]}
            place["su"] = paths[i, ion] @ np.linalg.inv(cell)
            for kind, row in place.items():
                words |= {a + kind: f"{x:.6f}" for a, x in zip("xyz", row, strict=True)}
            words |= {f"i{a}": x for a, x in zip("xyz", images[ion], strict=True)}
            words |= {f"v{a}": 0.0 for a in "xyz"}
            text += " ".join(str(words[name]) for name in columns.split()) + "\n"
    path.write_text(text)
    return path


def rows(cell):
    return "".join(" ".join(f"{x:g}" for x in row) + " 0\n" for row in cell)


def slow(n_frames=120):
    """Ions that vibrate, seen often, and go nowhere: any two frames are near each other."""
    rng, time = np.random.default_rng(0), 0.2 * np.arange(n_frames)[:, None, None]
    phase, pace = rng.uniform(0, 6.3, (5, 3)), rng.uniform(0.8, 1.2, (5, 3))
    return rng.random((5, 3)) * EDGE + 0.3 * np.cos(pace * time + phase)
