"""Compile C++ functions, and do without them."""

import ctypes
import shutil

import numpy as np
import pytest
import torch

from sketchembed.raster import native

SOURCE = """
#include "native.hpp"
template <class T, class L> static void functions(long count, const T *in, T *out, T *moments) {
    for (long k = 0; k < count; k++) out[k] = exponential(in[k]);
    statistics(in, count, T(0), moments[0], moments[1]);
}
template <class T, class L> static void rounded(long count, const T *in, L *out) {
    for (long k = 0; k < count; k++) store(out[k], in[k]);
}
EXPORT(functions)
EXPORT(rounded)
"""
needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "small.cpp"
    path.write_text(SOURCE)
    yield path
    native.native_library.cache_clear()


def libraries(tmp_path):
    return sorted((tmp_path / "cache" / "sketchembed" / "native").iterdir())


@needs_compiler
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 3e-7), (torch.float64, 1e-15)])
def test_exponential_and_statistics_equal_numpy(source, dtype, rtol):
    values = torch.linspace(-60, 80, 10_001, dtype=dtype)
    out, moments = torch.empty_like(values), torch.empty(2, dtype=dtype)
    native.call_native(source, "functions", values, dtype, [len(values)], [values, out, moments])
    wanted = np.exp(values.double().numpy())
    np.testing.assert_allclose(out.double().numpy(), wanted, rtol=rtol)
    np.testing.assert_allclose(moments, [values.double().mean(), 1 / values.double().std(correction=0)], 1e-5)


@needs_compiler
def test_exponential_at_the_ends(source):
    values = torch.tensor([-1e4, 1e4, torch.inf, -torch.inf, torch.nan], dtype=torch.float64)
    out = torch.empty_like(values)
    native.call_native(
        source, "functions", values, values.dtype, [5], [values, out, torch.empty_like(values)]
    )
    assert out[0] < 1e-300
    assert out[3] < 1e-300
    assert (out[1:3] > 1e300).all()
    assert out[4].isnan()


@needs_compiler
def test_bfloat16_is_rounded_as_by_pytorch(source):
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1 + 2**-8, 1 + 3 * 2**-8])
    values = torch.cat([torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 1e3, special])
    out = torch.empty(len(values), dtype=torch.bfloat16)
    native.call_native(source, "rounded", values, out.dtype, [len(values)], [values, out])
    assert torch.equal(out.nan_to_num(7), values.to(torch.bfloat16).nan_to_num(7))


@needs_compiler
def test_library_is_compiled_once(source, tmp_path, monkeypatch, capsys):
    assert isinstance(native.native_library(source), ctypes.CDLL)
    assert "compiling small.cpp" in capsys.readouterr().err
    (compiled,) = libraries(tmp_path)
    before = compiled.stat().st_mtime_ns
    native.native_library.cache_clear()
    assert native.native_library(source) is not None
    assert compiled.stat().st_mtime_ns == before
    assert capsys.readouterr().err == ""
    # Another processor or another source needs another library.
    monkeypatch.setattr(native, "_processor", lambda: "another")
    native.native_library.cache_clear()
    assert native.native_library(source) is not None
    assert len(libraries(tmp_path)) == 2


@needs_compiler
def test_without_compiler_there_are_no_functions(source, monkeypatch):
    like = torch.zeros(1)
    assert native.why_not_native() == ""
    monkeypatch.setenv("PATH", "")
    assert not native.has_native(source, like, like.dtype)
    assert native.why_not_native() == "there is no C++ compiler (c++, g++, clang++)"


def test_functions_can_be_turned_off(source, monkeypatch):
    monkeypatch.setenv("SKETCHEMBED_NATIVE", "0")
    assert native.native_library(source) is None
    assert native.why_not_native() == "SKETCHEMBED_NATIVE is 0"


@needs_compiler
def test_compiler_error_is_a_warning(source, capsys, tmp_path):
    source.write_text("no C++")
    assert native.native_library(source) is None
    told = capsys.readouterr().err
    assert "small.cpp was not compiled" in told
    assert "error" in told
    assert libraries(tmp_path) == []


def test_no_functions_for_other_types_and_devices(source):
    assert not native.has_native(source, torch.zeros(1, dtype=torch.float16), torch.float16)
    assert not native.has_native(source, torch.zeros(1, dtype=torch.float64), torch.bfloat16)
    assert not native.has_native(source, torch.zeros(1, device="meta"), torch.float32)
