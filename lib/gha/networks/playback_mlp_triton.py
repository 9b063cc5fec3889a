"""Playback's networks on a GPU by one kernel for up to three layers, whose activations stay in registers.

A program takes a tile of points. Two layers are evaluated together, as attention is: some channels of the first are
made and at once multiplied with their share of the second's weights, which are read from the cache as they are needed.
What :class:`PlaybackMLP` does layer by layer is the reference.
"""

from __future__ import annotations

import logging
import subprocess
from dataclasses import asdict, dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.nn.functional import linear, pad
from triton.errors import TritonError

from .mlp import MLP
from .playback_mlp import PlaybackMLP

logger = logging.getLogger(__name__)

WIDTHS, MOST_HIDDEN_LAYERS, MOST_OUTPUTS = (64, 128, 256), 5, 64
_ALIGNMENT = 16
"""Fewest columns that matrix units multiply with."""
_ROWS_TOGETHER = 128
"""Points are padded to a multiple of it, so that tiles need no masks where they read."""


@dataclass(frozen=True)
class Tiles:
    """How work is cut; it changes how fast the kernel is, not what it computes.

    Attributes:
        ROWS: points of a tile; 64 or 128.
        CHUNK: channels of a layer that are made before they are multiplied with the next layer's weights.
        STAGES: chunks whose weights are on their way or in use.
        num_warps: that share a tile, 4 for 64 points, 8 for 128.
    """

    ROWS: int = 128
    CHUNK: int = 32
    STAGES: int = 2
    num_warps: int = 8


TILES = Tiles()


def can_fuse(mlp: MLP, dtype: torch.dtype) -> bool:
    """Whether the kernel knows networks of such sizes."""
    widths = [layer.out_features for layer in mlp.layers]
    hidden, outputs = set(widths[:-1]), widths[-1]
    return (
        dtype in (torch.float16, torch.bfloat16)
        and len(hidden) == 1
        and hidden < set(WIDTHS)
        and len(widths) - 1 <= MOST_HIDDEN_LAYERS
        and outputs <= MOST_OUTPUTS
    )


class FusedNetworks(nn.Module):
    """Networks with one condition, each over points of its own; :func:`can_fuse` holds for all of them. No gradients.

    Args:
        networks: in their form for playback.
    """

    def __init__(self, networks: list[PlaybackMLP]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(_FusedMLP(network) for network in networks)
        of_condition, biases = zip(*(_condition_layer(network) for network in networks), strict=True)
        self.sizes = [len(bias) for bias in biases]
        self.register_buffer("of_condition", torch.cat(of_condition))
        self.register_buffer("bias", torch.cat(biases))

    def forward(self, condition: Tensor) -> list[Tensor]:
        """Outputs [B, N, output_size] of each network in float32 for conditions [B, condition_size]."""
        biases = linear(condition, self.of_condition, self.bias).split(self.sizes, dim=-1)
        return [network(bias) for network, bias in zip(self.networks, biases, strict=True)]


class _FusedMLP(nn.Module):
    """What the kernel reads of one network: kept products [padded N, width], weights [inputs, outputs]."""

    def __init__(self, network: PlaybackMLP) -> None:
        super().__init__()
        first, *others = network.layers
        self.count, self.outputs = len(first.known), len(network.layers[-1].bias)
        self.skip = next((index for index, layer in enumerate(others, 1) if layer.known is not None), -1)
        known = [_aligned(layer.known, rows=True) for layer in network.layers if layer.known is not None]
        weights = [_aligned(layer.of_hidden.T) for layer in others]
        self.known_names = [self._keep(f"known_{index}", value) for index, value in enumerate(known)]
        self.weight_names = [self._keep(f"weight_{index}", value) for index, value in enumerate(weights, 1)]

    def _keep(self, name: str, value: Tensor) -> str:
        self.register_buffer(name, value)
        return name

    def forward(self, biases: Tensor) -> Tensor:
        """Outputs [B, N, output_size] from all layers' biases [B, padded widths of all layers]."""
        known = [getattr(self, name) for name in self.known_names]
        weights = [getattr(self, name) for name in self.weight_names]
        return _evaluate(biases, known, weights, self.count, self.outputs, self.skip)


def _condition_layer(network: PlaybackMLP) -> tuple[Tensor, Tensor]:
    """Weight [padded widths of all layers, condition_size] and bias of the biases that a condition leaves of layers."""
    size = network.layers[0].of_condition.shape[1]
    weights, biases = [], []
    for layer in network.layers:
        bias = layer.bias.float()
        weight = bias.new_zeros(len(bias), size) if layer.of_condition is None else layer.of_condition
        weights.append(_aligned(weight.T).T)
        biases.append(_aligned(bias[None])[0])
    return torch.cat(weights), torch.cat(biases)


def _aligned(values: Tensor, rows: bool = False) -> Tensor:
    """Values [R, C] with columns, and rows if asked for, of zeros up to the next multiple of what kernels take."""
    missing_rows = -len(values) % _ROWS_TOGETHER if rows else 0
    return pad(values, (0, -values.shape[1] % _ALIGNMENT, 0, missing_rows)).contiguous()


@torch.library.custom_op(
    "gha::playback_mlp",
    mutates_args=(),
    schema="(Tensor biases, Tensor[] known, Tensor[] weights, int count, int outputs, int skip) -> Tensor",
)
def _evaluate(
    biases: Tensor, known: list[Tensor], weights: list[Tensor], count: int, outputs: int, skip: int
) -> Tensor:
    """Outputs [B, count, outputs] of one network; the layer ``skip`` adds the second of the known products."""
    batch, width = len(biases), known[0].shape[1]
    hidden = known[0].expand(batch, -1, -1)
    for layers in _passes(len(weights)):
        final = layers[-1] == len(weights)
        shape = (batch, count, outputs) if final else hidden.shape
        result = torch.empty(shape, dtype=torch.float32 if final else hidden.dtype, device=biases.device)
        entering = biases[:, (layers[0] - 1) * width :]
        used = [weights[layer - 1] for layer in layers]
        _launch(hidden, entering, used, known[-1], layers.index(skip) if skip in layers else -1, result)
        hidden = result
    return hidden


@_evaluate.register_fake
def _(biases: Tensor, known: list[Tensor], weights: list[Tensor], count: int, outputs: int, skip: int) -> Tensor:
    return biases.new_empty(len(biases), count, outputs)


def _passes(layers: int) -> list[list[int]]:
    """Layers 1 to ``layers``, two to a launch; the last launch takes what is left, up to three."""
    left, passes = list(range(1, layers + 1)), []
    while len(left) > 3:
        passes.append(left[:2])
        left = left[2:]
    return [*passes, left]


def _launch(hidden: Tensor, biases: Tensor, weights: list[Tensor], known: Tensor, knows: int, result: Tensor) -> None:
    """Take hidden activations [B, padded N, width], before bias and activation, through one to three layers.

    Args:
        hidden: see above.
        biases: [B, .] of the layer that ``hidden`` came from and of those to come.
        weights: of the layers to come.
        known: [padded N, .] products to add.
        knows: which of the layers to come adds them, -1 for none.
        result: [B, padded N, width], the same as ``hidden`` of a later layer, or [B, N, outputs] in float32.
    """
    alone, third = len(weights) == 1, len(weights) == 3
    final = result.dtype == torch.float32
    first, second = (hidden, weights[0]) if alone else weights[:2]
    constants: dict[str, Any] = {
        "WIDTH": hidden.shape[-1],
        "SECOND": second.shape[1],
        "LAST": weights[2].shape[1] if third else 0,
        "ALONE": alone,
        "FIRST_KNOWS": knows == 0 and not alone,
        "SECOND_KNOWS": knows == (0 if alone else 1),
        "FINAL": final,
    }
    rows, outputs = result.shape[1:]
    steps = hidden.stride(0), biases.stride(0), result.stride(0)
    with torch.cuda.device_of(hidden):
        _run_layers[triton.cdiv(rows, TILES.ROWS), len(result)](
            hidden,
            biases,
            first,
            second,
            weights[-1],
            known,
            result,
            *steps,
            rows,
            outputs,
            **constants,
            **asdict(TILES),
        )


@triton.jit
def _run_layers(
    hidden_in: tl.tensor,
    biases: tl.tensor,
    first_weight: tl.tensor,
    second_weight: tl.tensor,
    last_weight: tl.tensor,
    known: tl.tensor,
    result: tl.tensor,
    hidden_step: tl.tensor,
    bias_step: tl.tensor,
    result_step: tl.tensor,
    row_count: tl.tensor,
    output_count: tl.tensor,
    WIDTH: tl.constexpr,
    SECOND: tl.constexpr,
    LAST: tl.constexpr,
    ALONE: tl.constexpr,
    FIRST_KNOWS: tl.constexpr,
    SECOND_KNOWS: tl.constexpr,
    FINAL: tl.constexpr,
    ROWS: tl.constexpr,
    CHUNK: tl.constexpr,
    STAGES: tl.constexpr,
) -> None:
    batch = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    inputs, seconds = tl.arange(0, WIDTH), tl.arange(0, SECOND)
    dtype = hidden_in.dtype.element_ty
    biases += batch * bias_step
    result += batch * result_step
    entering = tl.load(hidden_in + batch * hidden_step + rows * WIDTH + inputs[None, :])
    entering = _activate(entering.to(tl.float32) + tl.load(biases + inputs)[None, :]).to(dtype)
    biases += WIDTH
    if SECOND_KNOWS:
        total = tl.load(known + rows * SECOND + seconds[None, :]).to(tl.float32)
    else:
        total = tl.zeros([ROWS, SECOND], tl.float32)
    if ALONE:
        total += tl.dot(entering, tl.load(second_weight + inputs[:, None] * SECOND + seconds[None, :]))
    else:
        for start in tl.range(0, WIDTH, CHUNK, num_stages=STAGES):
            chunk = start + tl.arange(0, CHUNK)
            weight = tl.load(first_weight + inputs[:, None] * WIDTH + chunk[None, :])
            hidden = tl.dot(entering, weight) + tl.load(biases + chunk)[None, :]
            if FIRST_KNOWS:
                hidden += tl.load(known + rows * WIDTH + chunk[None, :]).to(tl.float32)
            weight = tl.load(second_weight + chunk[:, None] * SECOND + seconds[None, :])
            total = tl.dot(_activate(hidden).to(dtype), weight, total)
        biases += WIDTH
    if LAST > 0:
        lasts = tl.arange(0, LAST)
        hidden = _activate(total + tl.load(biases + seconds)[None, :]).to(dtype)
        outputs = tl.dot(hidden, tl.load(last_weight + seconds[:, None] * LAST + lasts[None, :]))
        outputs += tl.load(biases + SECOND + lasts)[None, :]
        mask = (rows < row_count) & (lasts < output_count)[None, :]
        tl.store(result + rows * output_count + lasts[None, :], outputs, mask=mask)
    elif FINAL:
        outputs = total + tl.load(biases + seconds)[None, :]
        mask = (rows < row_count) & (seconds < output_count)[None, :]
        tl.store(result + rows * output_count + seconds[None, :], outputs, mask=mask)
    else:
        tl.store(result + rows * SECOND + seconds[None, :], total.to(dtype))


@triton.jit
def _activate(values: tl.tensor) -> tl.tensor:
    """Leaky ReLU."""
    return tl.maximum(values, 0.01 * values)


def works(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernel compiles and runs here: it needs a C compiler, the headers of Python and a recent GPU."""
    try:
        mlp = MLP(3, MOST_HIDDEN_LAYERS * [max(WIDTHS)], 3, 2).to(device)  # smaller networks need less
        network = PlaybackMLP(mlp, torch.zeros(1, 3, device=device), dtype)
        FusedNetworks([network])(torch.zeros(1, 2, device=device))
    except (TritonError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        logger.warning("networks are evaluated layer by layer, which is slower: %s", error)
        return False
    return True
