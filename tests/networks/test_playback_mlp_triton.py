"""The fused kernel for playback's networks: on a CPU by Triton's interpreter, and as it is on a GPU."""

import pytest
import torch
from interpreted import run_interpreted

from gha.networks import MLP
from gha.networks.playback_mlp import PlaybackMLP
from gha.networks.playback_networks import PlaybackNetworks, build_playback_networks

pytest.importorskip("triton", reason="Triton is not installed")

SCRIPT = """
import torch
from gha.networks import MLP
from gha.networks.playback_mlp import PlaybackMLP
from gha.networks.playback_mlp_triton import FusedNetworks, can_fuse

torch.manual_seed(0)
with torch.no_grad():
    for batch, count in ((1, 150), (2, 5)):
        shapes = [([64] * layers, 3 + layers) for layers in range(1, 6)] + [([128], 32), ([128, 128], 16)]
        mlps = [MLP(6, hidden, outputs, 4) for hidden, outputs in shapes]
        assert all(can_fuse(mlp, torch.float16) for mlp in mlps)  # the interpreter cannot multiply bfloat16
        points, condition = torch.randn(count, 6), torch.randn(batch, 4)
        fused = FusedNetworks([PlaybackMLP(mlp, points, torch.float16) for mlp in mlps])
        followed = torch.compile(fused, backend="aot_eager", fullgraph=True)(condition)
        for mlp, found, same in zip(mlps, fused(condition), followed, strict=True):
            expected = mlp(points, condition)
            assert found.dtype == torch.float32 and found.shape == expected.shape
            assert 0 < (found - expected).square().mean().sqrt() < 1e-3 * expected.std()
            assert (found - expected).abs().max() < 5e-3 * expected.std()
            assert torch.equal(same, found)
print("agrees")
"""

HEAD = {
    "expression": [(2 * [256], 32), (3 * [256], 8), (5 * [256], 3)],
    "pose": [([128], 32), (2 * [128], 8), (2 * [256], 3)],
}


def trained_looking(kind, points, device="cpu"):
    """The networks of a head, and inputs for each."""
    mlps = [MLP(points.shape[1], hidden, outputs, 64).to(device) for hidden, outputs in HEAD[kind]]
    return mlps, [points.to(device)] * len(mlps)


def test_kernel_agrees_with_the_reference():
    run = run_interpreted("-c", SCRIPT)
    assert "agrees" in run.stdout, run.stderr


def test_sizes_the_kernel_does_not_know():
    from gha.networks.playback_mlp_triton import can_fuse

    known = [MLP(3, hidden, outputs, 2) for networks in HEAD.values() for hidden, outputs in networks]
    assert all(can_fuse(mlp, torch.float16) for mlp in known)
    assert not can_fuse(known[0], torch.float32)
    for hidden, outputs in (([], 3), ([256, 128], 3), ([96], 3), (6 * [64], 3), ([64], 65)):
        assert not can_fuse(MLP(3, hidden, outputs, 2), torch.float16)


@pytest.mark.cuda
@pytest.mark.parametrize("kind", HEAD)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize(("batch", "count"), [(1, 1000), (3, 129)])
@torch.no_grad()
def test_networks_of_a_head_on_a_gpu(kind, dtype, tolerance, batch, count):
    torch.compiler.reset()  # PyTorch gives up on functions that it has compiled for too many networks
    mlps, points = trained_looking(kind, torch.randn(count, 128), "cuda")
    condition = torch.randn(batch, 64, device="cuda")
    fused = build_playback_networks(mlps, points, dtype)
    assert not isinstance(fused, PlaybackNetworks)
    compiled = torch.compile(fused, fullgraph=True)
    for networks in (fused, compiled):
        for mlp, x, found in zip(mlps, points, networks(condition), strict=True):
            expected = mlp(x, condition)
            assert (found - expected).square().mean().sqrt() / expected.std() < tolerance


@torch.no_grad()
def test_a_cpu_evaluates_layer_by_layer():
    mlps, points = trained_looking("pose", torch.randn(9, 128))
    condition = torch.randn(1, 64)
    networks = build_playback_networks(mlps, points, torch.float16)
    assert isinstance(networks, PlaybackNetworks)
    for mlp, x, found in zip(mlps, points, networks(condition), strict=True):
        torch.testing.assert_close(found, PlaybackMLP(mlp, x, torch.float16)(condition))
