"""Compiled kernels are dropped when their sources change, and only then."""

from ionsieve.kernel_cache import drop_stale_kernels


def test_cache_lives_as_long_as_its_sources(tmp_path):
    source, other = tmp_path / "kernels.py", tmp_path / "types.py"
    source.write_text("a = 1\n")
    other.write_text("b = 1\n")
    cache = tmp_path / "__pycache__"
    drop_stale_kernels(tmp_path)
    compiled = [cache / "kernels.f-1.py311.nbi", cache / "kernels.f-1.py311.1.nbc"]
    kept = cache / "kernels.cpython-311.pyc"
    for path in (*compiled, kept):
        path.write_text("compiled")
    drop_stale_kernels(tmp_path)
    assert all(path.exists() for path in compiled)
    other.write_text("b = 2\n")
    drop_stale_kernels(tmp_path)
    assert not any(path.exists() for path in compiled)
    assert kept.exists()


def test_read_only_installation_is_no_error(tmp_path):
    (tmp_path / "kernels.py").write_text("a = 1\n")
    (tmp_path / "__pycache__").write_text("not a folder")
    drop_stale_kernels(tmp_path)
