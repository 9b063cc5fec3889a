import pytest
import torch

from gha.networks import MLP
from gha.networks.playback_mlp import PlaybackMLP
from gha.networks.positional_encoding import plain_positional_encoding, positional_encoding


@pytest.mark.parametrize("hidden", [[], [16], [16, 12], [16, 12, 8, 10]])
@pytest.mark.parametrize("batch", [1, 3])
@torch.no_grad()
def test_points_known_beforehand_change_nothing(hidden, batch):
    mlp = MLP(7, hidden, 3, 5)
    points, conditions = torch.randn(9, 7), torch.randn(batch, 5)
    torch.testing.assert_close(PlaybackMLP(mlp, points, torch.float32)(conditions), mlp(points, conditions))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
@torch.no_grad()
def test_half_precision_rounds_but_little(dtype, tolerance):
    mlp = MLP(7, [64, 64, 64], 3, 5)
    points, condition = torch.randn(50, 7), torch.randn(1, 5)
    expected, found = mlp(points, condition), PlaybackMLP(mlp, points, dtype)(condition)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).square().mean().sqrt() / expected.std() < tolerance


@pytest.mark.parametrize("frequencies", [0, 4])
def test_plain_encoding_is_the_encoding(frequencies):
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(plain_positional_encoding(x, frequencies), positional_encoding(x, frequencies))
