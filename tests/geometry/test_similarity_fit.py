import torch

from gha.geometry import axis_angle_to_matrix, fit_similarities


def test_known_similarities_are_found_whatever_has_no_weight():
    source = torch.randn(20, 3, dtype=torch.float64)
    rotation = axis_angle_to_matrix(torch.randn(4, 3, dtype=torch.float64))
    scale = torch.tensor([0.1, 1.0, 3.0, 20.0]).double()
    shift = torch.randn(4, 1, 3, dtype=torch.float64)
    target = scale[:, None, None] * source @ rotation.mT + shift
    weights = torch.rand(4, 20, dtype=torch.float64) + 0.1
    weights[:, :3] = 0
    target[:, :3] += 100
    found, factor, (from_mean, to_mean) = fit_similarities(source, target, weights)
    torch.testing.assert_close(found, rotation)
    torch.testing.assert_close(factor, scale)
    carried = factor[:, None] * (found @ from_mean[..., None])[..., 0] + shift[:, 0]
    torch.testing.assert_close(to_mean, carried)


def test_a_mirror_image_is_never_the_answer():
    source = torch.randn(20, 3)
    rotation, _, _ = fit_similarities(source, (source * torch.tensor([-1.0, 1, 1]))[None], torch.ones(1, 20))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(1))
