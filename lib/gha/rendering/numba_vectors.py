"""Sixteen floats at a time in numba: a value type with arithmetic, so that kernels state what is vectorised.

LLVM maps it to whatever the processor has: one AVX-512 register, two of AVX, four of SSE or NEON. A vector may also
stand for a block of 4 x 4 pixels of an image. Arrays are contiguous, indices are flat and are not checked.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LANES = 16

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES)


class VectorType(types.Type):
    """The numba type of sixteen float32."""

    def __init__(self) -> None:
        super().__init__(name="Vector16")


vector = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: VectorType) -> None:
        super().__init__(manager, kind, _FLOATS)


def _address(context: Any, builder: ir.IRBuilder, kind: types.Array, array: Any, index: Any, lanes: int = LANES) -> Any:
    """Pointer to ``lanes`` floats from a flat ``index`` of a C-contiguous float32 array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.VectorType(ir.FloatType(), lanes).as_pointer())


def _shuffle(builder: ir.IRBuilder, left: Any, right: Any, lanes: Iterable[int]) -> Any:
    """Chosen lanes of two vectors; those of ``right`` count on from those of ``left``."""
    chosen = list(lanes)
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(ir.IntType(32), len(chosen)), chosen))


@intrinsic
def load(typing_context: Any, array: types.Array, index: types.Integer) -> tuple:
    """Sixteen consecutive floats of a contiguous array, from a flat index."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], *args), align=4)

    return vector(array, types.int64), generate


@intrinsic
def store(typing_context: Any, array: types.Array, index: types.Integer, value: VectorType) -> tuple:
    """Write sixteen consecutive floats of a contiguous array, from a flat index."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        builder.store(args[2], _address(context, builder, signature.args[0], *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, vector), generate


@intrinsic
def load_block(typing_context: Any, array: types.Array, index: types.Integer, stride: types.Integer) -> tuple:
    """A block of 4 x 4 pixels, row by row, of an image whose rows are ``stride`` apart."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        array, index, stride = args
        rows = []
        for _ in range(4):
            rows.append(builder.load(_address(context, builder, signature.args[0], array, index, 4), align=4))
            index = builder.add(index, stride)
        halves = [_shuffle(builder, rows[k], rows[k + 1], range(8)) for k in (0, 2)]
        return _shuffle(builder, *halves, range(LANES))

    return vector(array, types.int64, types.int64), generate


@intrinsic
def store_block(
    typing_context: Any, array: types.Array, index: types.Integer, stride: types.Integer, value: VectorType
) -> tuple:
    """The inverse of ``load_block``."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        array, index, stride, value = args
        for row in range(4):
            pixels = _shuffle(builder, value, value, range(4 * row, 4 * row + 4))
            builder.store(pixels, _address(context, builder, signature.args[0], array, index, 4), align=4)
            index = builder.add(index, stride)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, vector), generate


@intrinsic
def transpose(
    typing_context: Any,
    source: types.Array,
    index: types.Integer,
    stride: types.Integer,
    target: types.Array,
    target_index: types.Integer,
    target_stride: types.Integer,
) -> tuple:
    """Copy a 16 x 16 matrix transposed, from rows ``stride`` apart to rows ``target_stride`` apart."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        rows, at = [], args[1]
        for _ in range(LANES):
            rows.append(builder.load(_address(context, builder, signature.args[0], args[0], at), align=4))
            at = builder.add(at, args[2])
        width = LANES // 2
        while width:
            # Swap the off-diagonal squares of every 2 x 2 of squares of this width.
            low = [k + (0 if k % (2 * width) < width else LANES - width) for k in range(LANES)]
            high = [k + (width if k % (2 * width) < width else LANES) for k in range(LANES)]
            for row in range(LANES):
                if row % (2 * width) < width:
                    pair = rows[row], rows[row + width]
                    rows[row], rows[row + width] = _shuffle(builder, *pair, low), _shuffle(builder, *pair, high)
            width //= 2
        at = args[4]
        for row in rows:
            builder.store(row, _address(context, builder, signature.args[3], args[3], at), align=4)
            at = builder.add(at, args[5])
        return context.get_dummy_value()

    return types.void(source, types.int64, types.int64, target, types.int64, types.int64), generate


@intrinsic
def splat(typing_context: Any, value: types.Float) -> tuple:
    """The same float in every lane."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        single = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), args[0], ir.Constant(ir.IntType(32), 0))
        return _shuffle(builder, single, single, [0] * LANES)

    return vector(types.float32), generate


def _register(python_operator: Callable, instruction: str) -> None:
    """Make an operator of Python work on two vectors."""

    @type_callable(python_operator)
    def typed(context: Any) -> Callable:
        def result(left: Any, right: Any) -> VectorType | None:
            return vector if isinstance(left, VectorType) and isinstance(right, VectorType) else None

        return result

    @lower_builtin(python_operator, VectorType, VectorType)
    def lowered(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)


for _operator, _instruction in {
    operator.add: "fadd", operator.sub: "fsub", operator.mul: "fmul", operator.truediv: "fdiv",
}.items():  # fmt: skip
    _register(_operator, _instruction)


@intrinsic
def multiply_add(typing_context: Any, left: VectorType, right: VectorType, addend: VectorType) -> tuple:
    """``left * right + addend``, rounded once where the processor can."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        product = builder.fmul(args[0], args[1], flags=("contract",))
        return builder.fadd(product, args[2], flags=("contract",))

    return vector(vector, vector, vector), generate


@intrinsic
def select_less(
    typing_context: Any, left: VectorType, right: VectorType, then: VectorType, otherwise: VectorType
) -> tuple:
    """Lane by lane ``then if left < right else otherwise``; ``otherwise`` where a comparison meets NaN."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

    return vector(vector, vector, vector, vector), generate


@intrinsic
def total(typing_context: Any, value: VectorType) -> tuple:
    """Sum of the lanes."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        lanes, width = args[0], LANES
        while width > 1:
            width //= 2
            low = _shuffle(builder, lanes, lanes, range(width))
            high = _shuffle(builder, lanes, lanes, range(width, 2 * width))
            lanes = builder.fadd(low, high)
        return builder.extract_element(lanes, ir.Constant(ir.IntType(32), 0))

    return types.float32(vector), generate


@intrinsic
def truncate(typing_context: Any, value: VectorType) -> tuple:
    """Each lane rounded towards zero."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return builder.sitofp(builder.fptosi(args[0], _INTS), _FLOATS)

    return vector(vector), generate


@intrinsic
def power_of_two(typing_context: Any, exponent: VectorType) -> tuple:
    """2 to a whole number in [-126, 127], lane by lane."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        biased = builder.add(builder.fptosi(args[0], _INTS), ir.Constant(_INTS, [127] * LANES))
        return builder.bitcast(builder.shl(biased, ir.Constant(_INTS, [23] * LANES)), _FLOATS)

    return vector(vector), generate


@intrinsic
def positive_lanes(typing_context: Any, value: VectorType) -> tuple:
    """Bit k is set where lane k is > 0."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        bits = builder.bitcast(
            builder.fcmp_ordered(">", args[0], ir.Constant(_FLOATS, [0.0] * LANES)), ir.IntType(LANES)
        )
        return builder.zext(bits, ir.IntType(64))

    return types.int64(vector), generate


@intrinsic
def lowest_bit(typing_context: Any, bits: types.Integer) -> tuple:
    """Index of the lowest bit that is set; 64 if there is none."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


@intrinsic
def count_bits(typing_context: Any, bits: types.Integer) -> tuple:
    """How many bits are set."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.int64), generate
