"""Compiled kernels are kept on disk, and not longer than any of the sources they were made of."""

from gha.rendering import numba_compile


def double(number):
    return number + number


def compile_and_call():
    compiled = numba_compile.njit(double)
    assert compiled(21) == 42
    return compiled.stats


def test_a_second_process_loads_what_the_first_compiled():
    compile_and_call()
    stats = compile_and_call()
    assert sum(stats.cache_hits.values()) == 1
    assert not stats.cache_misses


def test_a_change_in_any_source_compiles_anew(monkeypatch):
    compile_and_call()
    monkeypatch.setattr(numba_compile, "_DIGEST", f"another {id(monkeypatch)}")
    stats = compile_and_call()
    assert not stats.cache_hits
    assert sum(stats.cache_misses.values()) == 1


def test_the_digest_follows_the_sources(monkeypatch, tmp_path):
    for name in ("numba_a.py", "options.py", "projection.py"):
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(numba_compile, "__file__", str(tmp_path / "numba_compile.py"))
    first = numba_compile._digest()
    (tmp_path / "numba_a.py").write_text("2")
    assert numba_compile._digest() != first
