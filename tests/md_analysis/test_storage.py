"""Trajectories larger than memory."""

import gzip
import os
import resource
import tracemalloc

import numpy as np
import pytest

from ionsieve.errors import IonSieveError
from ionsieve.md_analysis import ReadOptions, Trajectory, analyze, read_trajectory, storage

N_FRAMES, N_NA, N_S = 12000, 40, 120
SPECIES = ("Na",) * N_NA + ("S",) * N_S
PATHS_BYTES = 4 * 3 * len(SPECIES) * N_FRAMES
OPTIONS = ReadOptions(timestep_fs=50.0, temperature_k=700.0)


def xdatcar(path):
    """Write a run, its numbers digit by digit: formatting one by one would take long."""
    rng = np.random.default_rng(3)
    start = rng.random((len(SPECIES), 3))
    moved = np.zeros((N_NA, 3))
    tens = 10 ** np.arange(6, -1, -1)
    text = np.full((len(SPECIES), 3, 10), ord(" "), dtype=np.uint8)
    text[:, :, 1] = ord(".")
    text[:, 2, 9] = ord("\n")
    with gzip.open(path, "wb", 1) as file:
        file.write(f"cell\n1.0\n12 0 0\n0 12 0\n0 0 12\nNa S\n{N_NA} {N_S}\n".encode())
        for number in range(N_FRAMES):
            step = 0.002 * rng.normal(size=start.shape)
            moved += step[:N_NA]
            frame = start + step
            frame[:N_NA] = start[:N_NA] + moved
            digits = (frame % 1.0 * 10**7).astype(int)[:, :, None] // tens % 10
            text[:, :, 0] = ord("0")
            text[:, :, 2:9] = digits + ord("0")
            file.write(f"Direct configuration= {number + 1}\n".encode() + text.tobytes())
    return path


def test_memory_stays_below_the_size_of_the_trajectory(tmp_path, monkeypatch):
    """The text has about three times, the analysis itself about twice the size of the paths."""
    path = xdatcar(tmp_path / "XDATCAR.gz")
    whole = analyze(read_trajectory(path, OPTIONS), "Na")  # compiles the kernels, too
    monkeypatch.setattr(storage, "MEMORY_LIMIT_BYTES", PATHS_BYTES // 10)
    tracemalloc.start()
    try:
        run = read_trajectory(path, OPTIONS)
        read_peak = tracemalloc.get_traced_memory()[1]
        found = analyze(run, "Na")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(run.fractional, np.memmap)
    assert found.to_dict() == whole.to_dict()
    assert read_peak < 0.8 * PATHS_BYTES
    assert peak < 0.8 * PATHS_BYTES


def test_joined_segments_go_to_disk_too(monkeypatch):
    walk = np.cumsum(np.full((200, 4, 3), 0.01, dtype=np.float32), axis=0)
    run = Trajectory.from_arrays(walk, 9 * np.eye(3), ["Na"] * 4, 10.0)
    monkeypatch.setattr(storage, "MEMORY_LIMIT_BYTES", 1000)
    joined = Trajectory.join([run[:120], run[120:]])
    assert isinstance(joined.fractional, np.memmap)
    np.testing.assert_allclose(joined.fractional, run.fractional, atol=1e-6)


def test_no_room_to_unpack_is_one_clear_error(tmp_path):
    path = tmp_path / "XDATCAR.gz"
    path.write_bytes(gzip.compress(b"0.5 0.5 0.5\n" * 100_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(
            IonSieveError, match=r"no room for the unpacked XDATCAR\.gz in .* TMPDIR"
        ):
            read_trajectory(path, OPTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves no disk space")
def test_a_full_disk_is_told_before_anything_is_written(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(IonSieveError, match=r"no room for 2\.4 GB in .* set TMPDIR"):
        storage.allocate((100, 3, 2_000_000))
