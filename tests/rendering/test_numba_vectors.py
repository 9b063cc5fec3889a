"""The vector type of the CPU kernels against numpy. Compiled anew, so that code generation itself is tested."""

import numpy as np
import pytest
from numba import njit

from gha.rendering.numba_blocks import exponential
from gha.rendering.numba_vectors import (
    load,
    load_block,
    lowest_bit,
    multiply_add,
    positive_lanes,
    power_of_two,
    select_less,
    splat,
    store,
    store_block,
    total,
    transpose,
    truncate,
)


@pytest.fixture
def numbers():
    return np.random.default_rng(0).uniform(-4, 4, 600).astype(np.float32)


def test_arithmetic(numbers):
    @njit
    def compute(values, out):
        a, b = load(values, 3), load(values, 40)
        store(out, 0, (a + b) * a - b / a)
        store(out, 16, multiply_add(a, b, splat(np.float32(2))))
        store(out, 32, select_less(a, b, truncate(a), splat(np.float32(9))))
        store(out, 48, power_of_two(truncate(a)))
        return total(a)

    out = np.zeros(64, np.float32)
    summed = compute(numbers, out)
    a, b = numbers[3:19], numbers[40:56]
    np.testing.assert_allclose(out[:16], (a + b) * a - b / a, rtol=1e-6)
    np.testing.assert_allclose(out[16:32], a * b + 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(out[32:48], np.where(a < b, np.trunc(a), 9))
    np.testing.assert_array_equal(out[48:], 2.0 ** np.trunc(a))
    assert summed == pytest.approx(a.sum(), rel=1e-5)


def test_lanes(numbers):
    @njit
    def compute(values):
        bits = positive_lanes(load(values, 0))
        return bits, lowest_bit(bits)

    bits, lowest = compute(numbers)
    positive = np.flatnonzero(numbers[:16] > 0)
    assert bits == sum(1 << k for k in positive)
    assert lowest == positive[0]


def test_blocks_and_transposition(numbers):
    @njit
    def compute(values, block, moved, square):
        store_block(moved, 5, 9, load_block(values, 2, 20))
        store(block, 0, load_block(values, 2, 20))
        transpose(values, 1, 17, square, 2, 18)

    block, moved, square = np.zeros(16, np.float32), np.zeros(60, np.float32), np.zeros(320, np.float32)
    compute(numbers, block, moved, square)
    expected = np.stack([numbers[2 + 20 * row : 6 + 20 * row] for row in range(4)])
    np.testing.assert_array_equal(block.reshape(4, 4), expected)
    np.testing.assert_array_equal(np.stack([moved[5 + 9 * row : 9 + 9 * row] for row in range(4)]), expected)
    matrix = np.stack([numbers[1 + 17 * row : 17 + 17 * row] for row in range(16)])
    np.testing.assert_array_equal(np.stack([square[2 + 18 * row : 18 + 18 * row] for row in range(16)]), matrix.T)


def test_exponential_is_accurate():
    @njit
    def compute(values, out):
        for at in range(0, len(values), 16):
            store(out, at, exponential(load(values, at)))

    values = np.concatenate([np.linspace(-20, 0, 15_984), [-0.0] * 8, [-80, -500, -1e30, -np.inf] * 2]).astype(
        np.float32
    )
    out = np.empty_like(values)
    compute(values, out)
    exact = np.exp(np.maximum(values.astype(np.float64), -80))
    assert np.abs(out / exact - 1).max() < 3e-7
