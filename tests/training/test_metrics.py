"""Image metrics against closed forms and against independent implementations."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from gha.training import metrics


def random_images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_psnr_of_a_constant_error():
    truth = random_images(2, 3, 8, 8) * 0.5
    assert torch.allclose(metrics.psnr(truth + 0.1, truth), torch.full((2,), 20.0, dtype=torch.float64))


def test_psnr_of_equal_images_is_a_hundred():
    truth = random_images(3, 8, 8)
    assert metrics.psnr(truth, truth).item() == pytest.approx(100.0)


def test_psnr_counts_only_mask_pixels_and_all_three_channels():
    truth = torch.zeros(3, 4, 4)
    prediction = torch.full((3, 4, 4), 0.9)
    mask = torch.zeros(1, 4, 4)
    mask[0, 1, 2] = mask[0, 3, 0] = 1
    prediction[:, 1, 2] = torch.tensor([0.3, 0.0, 0.0])
    prediction[:, 3, 0] = torch.tensor([0.0, 0.6, 0.0])
    mean_square = (0.09 + 0.36) / (2 * 3)
    assert metrics.psnr(prediction, truth, mask).item() == pytest.approx(-10 * math.log10(mean_square), rel=1e-6)


def test_psnr_is_per_image():
    truth = torch.zeros(2, 3, 4, 4)
    prediction = torch.stack([torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 0.01)])
    assert metrics.psnr(prediction, truth).tolist() == pytest.approx([20.0, 40.0])


def test_empty_mask_gives_nan():
    truth = torch.zeros(3, 4, 4)
    assert metrics.psnr(truth, truth, torch.zeros(1, 4, 4)).isnan()


def test_gain_aligned_psnr_forgives_a_gain_but_not_an_offset():
    truth = 0.2 + 0.3 * random_images(3, 16, 16)
    gain = torch.tensor([0.5, 1.3, 0.8], dtype=torch.float64).view(3, 1, 1)
    assert torch.allclose(metrics.fit_gain(truth / gain, truth), gain)
    assert metrics.gain_aligned_psnr(truth / gain, truth).item() == pytest.approx(100.0)
    assert metrics.gain_aligned_psnr(truth + 0.2, truth).item() < 40


def test_gain_is_fitted_inside_the_mask_and_is_the_least_squares_one():
    truth, prediction = random_images(3, 6, 6), random_images(3, 6, 6, seed=1)
    mask = torch.zeros(1, 6, 6)
    mask[:, :3] = 1
    expected = [np.linalg.lstsq(p.reshape(-1, 1), t.ravel(), rcond=None)[0][0] for p, t in
                zip(prediction[:, :3].numpy(), truth[:, :3].numpy(), strict=True)]  # fmt: skip
    assert metrics.fit_gain(prediction, truth, mask).flatten().tolist() == pytest.approx(expected)


def test_gain_of_a_black_prediction_is_one():
    assert metrics.fit_gain(torch.zeros(3, 2, 2), torch.ones(3, 2, 2)).flatten().tolist() == [1, 1, 1]


def scipy_ssim(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    blur = lambda image: gaussian_filter(image, sigma=1.5, radius=5)[5:-5, 5:-5]
    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    return (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))


def test_ssim_map_equals_an_independent_implementation():
    x, y = random_images(2, 3, 19, 23), random_images(2, 3, 19, 23, seed=1)
    expected = np.array([[scipy_ssim(a, b) for a, b in zip(u, v, strict=True)] for u, v in
                         zip(x.numpy(), y.numpy(), strict=True)])  # fmt: skip
    assert np.allclose(metrics.ssim_map(x, y).numpy(), expected, atol=1e-10)


def test_ssim_of_two_constant_images():
    x, y = (torch.full((3, 12, 12), value, dtype=torch.float64) for value in (0.25, 0.75))
    expected = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    assert metrics.ssim(x, y).item() == pytest.approx(expected)
    assert metrics.ssim(x, x).item() == pytest.approx(1.0)


def test_masked_ssim_averages_the_map_at_mask_pixels():
    x, y = random_images(3, 20, 20), random_images(3, 20, 20, seed=1)
    mask = torch.zeros(1, 20, 20)
    mask[0, 8, 11] = mask[0, 14, 6] = 1
    mask[0, 2, 2] = 1  # the window does not fit here, so this pixel cannot count
    similarity = metrics.ssim_map(x, y)
    expected = (similarity[:, 3, 6].mean() + similarity[:, 9, 1].mean()) / 2
    assert metrics.ssim(x, y, mask).item() == pytest.approx(expected.item())


def test_ssim_gradient():
    x, y = random_images(1, 11, 12).requires_grad_(), random_images(1, 11, 12, seed=1)
    assert torch.autograd.gradcheck(metrics.ssim_map, (x, y))


def test_ssim_refuses_images_smaller_than_its_window():
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, got 10 x 30"):
        metrics.ssim(torch.zeros(3, 10, 30), torch.zeros(3, 10, 30))


def test_iou():
    alpha, mask = torch.zeros(3, 1, 4, 4), torch.zeros(3, 1, 4, 4)
    alpha[0, :, :2], mask[0, :, 1:3] = 0.9, 1.0
    alpha[1], mask[1] = 0.6, 0.7
    assert metrics.mask_iou(alpha, mask).tolist() == pytest.approx([1 / 3, 1.0, 1.0])
