import torch
from tiny_heads import EXPRESSIONS, gaussian_config, mesh_config

from gha.avatars.fields import FieldsConfig
from gha.avatars.gaussian_head import GaussianHead, GaussianSeeds
from gha.avatars.rendering import render_avatar, render_posed
from gha.avatars.transfer import gaussian_head_from_mesh, inverse_tanh, mouth_points, seed_gaussians
from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.geometry.rotations import axis_angle_to_matrix, quaternion_to_matrix

LIPS = list(range(48, 66))


def transferred(sphere_head, **changes):
    return gaussian_head_from_mesh(sphere_head.eval(), LIPS, gaussian_config(**changes), EXPRESSIONS)


def test_saturated_features_survive_the_transfer():
    """tanh saturates to one in float32, and interpolation rounds above it: atanh of that is infinite or NaN."""
    saturated = torch.tensor([1.0, -1.0, 1.0 + 1e-6, 0.3])
    restored = inverse_tanh(saturated)
    assert torch.isfinite(restored).all()
    torch.testing.assert_close(torch.tanh(restored), saturated, atol=1.1e-3, rtol=0)
    slope = 1 - torch.tanh(restored) ** 2
    assert slope.min() > 1e-3, "a saturated feature must still be able to learn"


def test_transfer_of_a_saturated_mesh_head_is_finite(sphere_head):
    with torch.no_grad():
        sphere_head.geometry.last_layer.bias[4:] = 50.0
    seeds = seed_gaussians(sphere_head.eval(), LIPS, gaussian_config())
    assert all(torch.isfinite(x).all() for x in (seeds.means, seeds.features, seeds.scales))
    assert seeds.scales.min() > 0


def test_transfer_keeps_the_colors_stage_one_learned(sphere_head, code):
    """The original drops the sigmoid of the colour networks here and has to learn colour anew."""
    head = transferred(sphere_head, transfer_edge_mm=30.0, mouth_points=0)
    mesh, gaussians = sphere_head(code).mesh, head(code).gaussians
    learned = torch.cat([gaussians.features[..., :3], gaussians.features[..., 3:] - head.latents], dim=-1)
    torch.testing.assert_close(learned, mesh.colors, atol=2e-3, rtol=0)
    torch.testing.assert_close(gaussians.means, mesh.vertices, atol=1e-5, rtol=0)


def test_mouth_points_lie_behind_the_lips():
    lips = torch.tensor([[-0.3, 0.0, 0.5], [0.3, 0.0, 0.5], [0.0, 0.1, 0.6], [0.0, -0.1, 0.6]])
    points = mouth_points(lips, 500, seed=0)
    center, half = torch.tensor([0.0, 0.0, 0.5]), 0.8 * torch.tensor([0.3, 0.1, 0.05])
    assert ((points - center).abs() <= half + 1e-6).all()
    assert ((points - center).abs().amax(0) > 0.9 * half).all(), "the box is filled"
    assert torch.equal(points, mouth_points(lips, 500, seed=0))


def identity_head():
    """Three Gaussians whose networks add nothing."""
    means = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
    seeds = GaussianSeeds(means, torch.zeros(3, 6), torch.tensor([0.1, 0.2, 0.1]), torch.zeros(66, 3))
    head = GaussianHead(gaussian_config(), mesh_config().fields, EXPRESSIONS, seeds)
    with torch.no_grad():
        networks = (
            head.fields.expression_deform,
            head.fields.pose_deform,
            head.expression_attributes,
            head.pose_attributes,
        )
        for network in networks:
            network.last_layer.weight.zero_()
            network.last_layer.bias.zero_()
        head.fields.neck.height.fill_(-10.0)  # all of it is head
    return head


def test_identity_pose_and_unit_scale_change_nothing():
    head = identity_head()
    gaussians = head(HeadCode(torch.zeros(1, EXPRESSIONS), torch.zeros(1, 6), torch.ones(1, 1))).gaussians
    torch.testing.assert_close(gaussians.means[0], head.means)
    torch.testing.assert_close(gaussians.scales[0], head.log_scales.exp())
    torch.testing.assert_close(gaussians.quats[0], head.quats)
    torch.testing.assert_close(gaussians.opacities[0], torch.full((3,), 0.3))


def test_pose_turns_moves_and_scales_every_gaussian():
    head = identity_head()
    with torch.no_grad():
        head.quats.copy_(torch.randn(3, 4))
        head.log_scales.copy_(torch.randn(3, 3))
    pose = torch.tensor([[0.2, -0.4, 0.3, 1.0, 2.0, 3.0]])
    still = head(HeadCode(torch.zeros(1, EXPRESSIONS), torch.zeros(1, 6), torch.ones(1, 1))).gaussians
    code = HeadCode(torch.zeros(1, EXPRESSIONS), pose, torch.full((1, 1), 0.1))
    moved = head(code).gaussians

    def covariance(gaussians):
        axes = quaternion_to_matrix(gaussians.quats) * gaussians.scales[..., None, :]
        return axes @ axes.transpose(-1, -2)

    rotation = axis_angle_to_matrix(pose[:, :3])[:, None]
    torch.testing.assert_close(covariance(moved), 0.01 * rotation @ covariance(still) @ rotation.transpose(-1, -2))
    torch.testing.assert_close(moved.means, code.to_world(head.means[None]))


def test_latents_reach_the_decoder_but_not_the_color():
    head = identity_head()
    code = HeadCode(torch.zeros(1, EXPRESSIONS), torch.zeros(1, 6), torch.ones(1, 1))
    with torch.no_grad():
        before = head(code).gaussians.features
        head.latents += 1
        after = head(code).gaussians.features
    torch.testing.assert_close(after[..., 3:], before[..., 3:] + 1)
    assert torch.equal(after[..., :3], before[..., :3])


def test_neighbours_start_with_different_latents():
    assert identity_head().latents.std(0).min() > 0.05


def test_without_latents_there_are_none():
    seeds = GaussianSeeds(torch.rand(3, 3), torch.zeros(3, 6), torch.full((3,), 0.1), torch.zeros(66, 3))
    head = GaussianHead(gaussian_config(latents=False), mesh_config().fields, EXPRESSIONS, seeds)
    assert "latents" not in head.state_dict()
    code = HeadCode(torch.zeros(1, EXPRESSIONS), torch.zeros(1, 6), torch.ones(1, 1))
    assert head(code).gaussians.features.shape == (1, 3, 5)


def test_landmarks_follow_the_expression_only(sphere_head):
    head = transferred(sphere_head)
    with torch.no_grad():
        head.fields.expression_deform.last_layer.weight.normal_()
    expression = torch.rand(2, EXPRESSIONS)
    poses = torch.randn(2, 2, 6)
    first, second = (head.landmarks(HeadCode(expression, pose, torch.ones(2, 1))) for pose in poses)
    assert torch.equal(first, second)
    assert (first[0] - first[1]).abs().max() > 1e-4
    assert (first - head.neutral_landmarks).abs().max() <= 0.3


def views(size, focal, distance):
    return Camera.look_at(torch.tensor([[0.0, 0.0, distance]]), torch.zeros(1, 3), focal, size, size)


def test_pictures_do_not_depend_on_the_unit_of_the_world():
    """The original assumes a metric world near the origin; here a world in centimetres shows the same."""
    head = identity_head()
    pictures = []
    for unit in (0.1, 10.0):
        code = HeadCode(torch.zeros(1, EXPRESSIONS), torch.zeros(1, 6), torch.full((1, 1), unit))
        pictures.append(render_posed(head(code), views(32, 60.0, 8 * unit)[None])[0])
    # The head's pose also feeds the colour networks; it is zero in both.
    torch.testing.assert_close(pictures[0], pictures[1], atol=1e-5, rtol=0)


def test_rendering_without_the_decoder_works(sphere_head, code):
    head = transferred(sphere_head)
    features, alpha = render_posed(head(code[:1]), views(32, 400.0, 1.2)[None])
    assert features.shape == (1, 1, 5, 32, 32)
    assert alpha.max() > 0.5


def test_avatar_image_sizes_and_background(sphere_head, code):
    head = transferred(sphere_head).eval()
    background = torch.tensor([0.2, 0.4, 0.6])
    image = render_avatar(head, code[0], views(64, 200.0, 2.0), background)
    assert image.rgb.shape == (1, 3, 64, 64)
    assert image.coarse_rgb.shape == (1, 3, 16, 16)
    corner = image.coarse_rgb[0, :, 0, 0]
    torch.testing.assert_close(corner, background)


def test_landmarks_learn_only_on_request(sphere_head, code):
    assert not transferred(sphere_head).neutral_landmarks.requires_grad
    learning = transferred(sphere_head, learn_landmarks=True)
    learning(code).gaussians.means.square().sum().backward()
    assert learning.neutral_landmarks.grad.abs().sum() > 0


def test_floats_per_gaussian_of_the_released_size():
    seeds = GaussianSeeds(torch.zeros(5, 3), torch.zeros(5, 128), torch.ones(5), torch.zeros(66, 3))
    head = GaussianHead(gaussian_config(), FieldsConfig(), 64, seeds)
    tensors = (head.means, head.features, head.log_scales, head.quats, head.opacity_logits)
    assert sum(t.numel() for t in tensors) == 5 * 139


def test_arranged_gaussians_are_those_the_networks_would_look_for(sphere_head, code):
    head = transferred(sphere_head, latents=False).train()
    before = head(code).gaussians
    order = head.arrange()
    after = head(code).gaussians
    assert not torch.equal(order, torch.arange(len(order))), "there is something to sort"
    for name in ("means", "quats", "scales", "opacities", "features"):
        sorted_before = getattr(before, name)[:, order]
        torch.testing.assert_close(getattr(after, name), sorted_before, atol=1e-6, rtol=1e-5)
    gradient = torch.autograd.grad(after.means.square().sum(), head.means)[0]
    exact = torch.autograd.grad(head.eval()(code).gaussians.means.square().sum(), head.means)[0]
    torch.testing.assert_close(gradient, exact, atol=1e-5, rtol=1e-4)


def test_arranged_the_neck_network_learns_the_same_from_the_few_gaussians_it_bends(sphere_head, code):
    head = transferred(sphere_head, latents=False).train()
    neck = head.fields.neck
    neck.config.length = 0.3

    def gradients() -> list[torch.Tensor]:
        return torch.autograd.grad(head(code).gaussians.means.square().sum(), [neck.height, *neck.shift.parameters()])

    asked = []
    neck.shift.register_forward_pre_hook(lambda _, inputs: asked.append(len(inputs[0])))
    everywhere = gradients()
    head.arrange()
    asked.clear()
    for found, expected in zip(gradients(), everywhere, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert 0 < asked[0] < 0.7 * len(head.means)


def test_parts_of_the_surface_get_the_gaussians_that_are_asked_for(sphere_head):
    neck = sphere_head.fields.neck

    def below(**edges):
        means = transferred(sphere_head, transfer_edge_mm=20.0, mouth_points=0, **edges).means.detach()
        share = neck.head_share(means, sphere_head.fields.encode_positions(means))
        face = sphere_head.fields.blend_weights(means, sphere_head.neutral_landmarks) > 0
        return [int(part.sum()) for part in (face, ~face & (share == 0), ~face & (share > 0))]

    plain, fine_face, coarse_body = below(), below(face_edge_mm=10.0), below(body_edge_mm=40.0)
    assert min(plain) > 20
    assert fine_face[0] > 3 * plain[0]
    assert fine_face[1:] == plain[1:]
    assert coarse_body[1] < plain[1] / 3
    assert (coarse_body[0], coarse_body[2]) == (plain[0], plain[2])
