import math

import torch
from tiny_heads import EXPRESSIONS, gaussian_config

from gha.avatars.splitting import most_pulled, split
from gha.avatars.transfer import gaussian_head_from_mesh
from gha.geometry.rotations import quaternion_to_matrix

LIPS = list(range(48, 66))


def covariances(log_scales, quats):
    axes = quaternion_to_matrix(quats / quats.norm(dim=-1, keepdim=True))
    return (axes * (2 * log_scales).exp()[:, None]) @ axes.transpose(-1, -2)


def test_a_pair_has_the_mean_and_the_covariance_of_the_whole():
    generator = torch.Generator().manual_seed(0)
    means, quats, log_scales = (torch.randn(5, n, generator=generator, dtype=torch.float64) for n in (3, 4, 3))
    chosen = torch.tensor([1, 3])
    origin, new_means, new_log_scales = split(means, log_scales, quats, chosen)
    assert origin.tolist() == [0, 1, 2, 3, 4, 1, 3]
    halves = covariances(new_log_scales, quats[origin])
    whole = covariances(log_scales, quats)
    for one, other in ((1, 5), (3, 6)):
        pair = torch.stack([new_means[one], new_means[other]])
        torch.testing.assert_close(pair.mean(0), means[one])
        apart = pair - pair.mean(0)
        torch.testing.assert_close(halves[one] + apart.T @ apart / 2, whole[one])
        torch.testing.assert_close(halves[one], halves[other])
        assert apart.norm() > 0.5 * log_scales[one].amax().exp()
    kept = [0, 2, 4]
    torch.testing.assert_close(new_means[kept], means[kept], rtol=0, atol=0)
    torch.testing.assert_close(new_log_scales[kept], log_scales[kept], rtol=0, atol=0)


def test_the_most_pulled_are_chosen_but_for_tiny_ones():
    demand = torch.tensor([5.0, 1.0, 9.0, 3.0, 7.0])
    log_scales = torch.full((5, 3), math.log(0.01))
    assert most_pulled(demand, log_scales, 0.4).tolist() == [2, 4]
    log_scales[2] = math.log(0.001)
    assert most_pulled(demand, log_scales, 0.4).tolist() == [0, 4]
    assert most_pulled(demand, log_scales, 1.0).tolist() == [0, 1, 3, 4]


def test_a_head_goes_on_with_twice_the_gaussians_of_the_chosen(sphere_head, code):
    head = gaussian_head_from_mesh(sphere_head.eval(), LIPS, gaussian_config(), EXPRESSIONS).eval()
    count, chosen = len(head.means), torch.tensor([4, 7, 20])
    before = {name: parameter.detach().clone() for name, parameter in head.per_gaussian().items()}
    origin = head.split(chosen)
    assert len(head.means) == count + 3
    for name, parameter in head.per_gaussian().items():
        assert parameter.requires_grad
        if name not in ("means", "log_scales"):
            torch.testing.assert_close(parameter.detach(), before[name][origin], rtol=0, atol=0)
    gaussians = head(code).gaussians
    assert gaussians.means.shape[1] == count + 3
    halves = head.means.detach()[chosen], head.means.detach()[count:]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, before["means"][chosen])


def test_split_heads_can_be_arranged(sphere_head, code):
    head = gaussian_head_from_mesh(sphere_head.eval(), LIPS, gaussian_config(), EXPRESSIONS).train()
    head.arrange()
    demand = torch.rand(len(head.means), generator=torch.Generator().manual_seed(0))
    head.split(most_pulled(demand, head.log_scales, 0.25))
    before = head(code).gaussians
    order = head.arrange()
    torch.testing.assert_close(head(code).gaussians.means, before.means[:, order], atol=1e-6, rtol=1e-5)
