import pytest
import torch

from gha.training.losses import soft_iou_loss, visible_l1, visible_squared_error


def test_visible_l1_counts_visible_pixels_only():
    prediction, truth = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    visible = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert visible_l1(prediction, truth, visible).item() == pytest.approx(0.25)


def test_soft_iou_of_equal_disjoint_and_half_masks():
    full, empty = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    half = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    assert soft_iou_loss(full, full).item() == pytest.approx(0.0)
    assert soft_iou_loss(empty, full).item() == pytest.approx(1.0)
    assert soft_iou_loss(half, full).item() == pytest.approx(0.5)
    assert torch.isfinite(soft_iou_loss(empty, empty))


def test_visible_squared_error_counts_visible_pixels_only():
    prediction, truth = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    visible = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    assert visible_squared_error(prediction, truth, visible).item() == pytest.approx(0.0625)


@pytest.mark.parametrize("loss", [visible_l1, visible_squared_error])
def test_colour_errors_count_as_often_as_they_are_weighted(loss):
    prediction, truth = torch.rand(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    weight = torch.zeros(1, 1, 4, 4)
    weight[..., 1, 2] = 4.0
    alone = loss(prediction[..., 1, 2], truth[..., 1, 2], torch.ones(()))
    assert loss(prediction, truth, weight).item() == pytest.approx(4 * alone.item() / 16)
