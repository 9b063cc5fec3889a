"""The soft silhouette: its profile in pixels, its gradient, and what it can fit."""

import math

import pytest
import torch
from mesh_scenes import bumpy_sphere, flat_camera, on_screen, rig

from gha.geometry import Camera
from gha.rendering import render_mesh, soften_mask
from gha.rendering.mesh_shapes import sphere_mesh

END = math.exp(-4.0)


def profile(distance):
    """The fall-off outside the outline, in closed form, by distance in pixels."""
    return ((torch.exp(-((distance / 1.5) ** 2)) - END) / (1 - END)).clamp_min(0)


@pytest.mark.parametrize("offset", [0.0, 0.25, 0.7])
@pytest.mark.parametrize("size", [32, 64])
def test_straight_edge_has_the_profile_in_closed_form(offset, size):
    """The same fall-off in pixels at any resolution."""
    edge = size / 2 + offset
    vertices = on_screen((edge, -size), (edge, 2 * size), (3 * size, size / 2)).flip(0)
    vertices = vertices[[0, 2, 1]] if _is_hidden(vertices) else vertices
    soft = render_mesh(vertices, torch.tensor([[0, 1, 2]]), vertices, flat_camera(size, size)).soft_mask[0]
    distance = (edge - (torch.arange(size) + 0.5)).clamp_min(0)
    torch.testing.assert_close(soft[size // 2], profile(distance), atol=2e-5, rtol=0)


def _is_hidden(vertices):
    (ab, ac) = (vertices[1:] - vertices[0])[:, :2]
    return ab[0] * ac[1] - ab[1] * ac[0] > 0


def test_corner_falls_off_with_distance_to_the_point():
    vertices = on_screen((10.3, 10.6), (40.0, 60.0), (60.0, 40.0))
    vertices = vertices[[0, 2, 1]] if _is_hidden(vertices) else vertices
    soft = render_mesh(vertices, torch.tensor([[0, 1, 2]]), vertices, flat_camera(16, 16)).soft_mask[0]
    expected = profile(torch.tensor(math.hypot(10.3 - 9.5, 10.6 - 9.5)))
    torch.testing.assert_close(soft[9, 9], expected, atol=1e-5, rtol=0)


def test_one_inside_zero_beyond_reach_and_between_in_between():
    vertices, triangles = bumpy_sphere()
    drawn = render_mesh(vertices, triangles, vertices, rig(48))
    assert (drawn.soft_mask[drawn.mask > 0] == 1).all()
    assert drawn.soft_mask.min() == 0
    assert drawn.soft_mask.max() == 1
    near = torch.nn.functional.max_pool2d(drawn.mask, 9, 1, 4)
    assert drawn.soft_mask[near == 0].max() == 0
    touching = (torch.nn.functional.max_pool2d(drawn.mask, 3, 1, 1) > 0) & (drawn.mask == 0)
    assert drawn.soft_mask[touching].min() > profile(torch.tensor(math.sqrt(2.0)))


def test_faces_behind_and_back_faces_make_no_outline():
    """Only the outline counts: a second sphere inside the first, or the far side of it, changes nothing."""
    vertices, triangles = sphere_mesh(12, 17, 0.1)
    alone = render_mesh(vertices, triangles, vertices, rig(40))
    inner = torch.cat([vertices, 0.8 * vertices])
    double = render_mesh(inner, torch.cat([triangles, triangles + len(vertices)]), inner, rig(40))
    assert torch.equal(alone.soft_mask, double.soft_mask)


def test_gradient_grows_and_moves_the_outline():
    vertices, triangles = sphere_mesh(16, 24, 0.1)
    size = torch.tensor(1.0, requires_grad=True)
    shift = torch.zeros(3, requires_grad=True)
    camera = rig(64, views=1)[0]
    soft = render_mesh(vertices * size + shift, triangles, vertices, camera).soft_mask
    grow, _ = torch.autograd.grad(soft.sum(), (size, shift), retain_graph=True)
    radius_px = 0.1 * 2.2 * 64 / 0.9
    circumference = 2 * math.pi * radius_px
    # The band moves outwards rigidly and loses its inner rim to the mask: the integral of its slope over the band is 1.
    assert grow == pytest.approx(circumference * radius_px, rel=0.15)
    columns = torch.arange(64) + 0.5
    _, move = torch.autograd.grad((soft * columns).sum(), (size, shift))
    assert move[0] > 0


def fit_sphere(truth_radius, truth_shift, target_of, steps=60):
    """Fit radius and centre of a sphere to masks by gradient descent from a wrong start; error of both in pixels."""
    vertices, triangles = sphere_mesh(16, 24, 1.0)
    camera = rig(48, views=3)
    truth = render_mesh(vertices * truth_radius + truth_shift, triangles, vertices, camera)
    target = target_of(truth.mask)
    radius = torch.tensor(0.1, requires_grad=True)
    shift = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.Adam([radius, shift], lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        soft = render_mesh(vertices * radius + shift, triangles, vertices, camera).soft_mask
        union = (soft + target - soft * target).sum((1, 2, 3))
        loss = 1 - ((soft * target).sum((1, 2, 3)) / union).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    pixels = 2.2 * 48 / 0.9
    return abs(radius.item() - truth_radius) * pixels, (shift - truth_shift).norm().item() * pixels


@pytest.mark.parametrize("truth_radius", [0.075, 0.13])
def test_a_sphere_of_wrong_size_and_place_finds_its_target(truth_radius):
    radius_error, shift_error = fit_sphere(truth_radius, torch.tensor([0.03, -0.02, 0.02]), soften_mask)
    assert radius_error < 0.25
    assert shift_error < 0.3


def test_softened_truth_removes_the_shrinking_of_a_hard_target():
    shift = torch.tensor([0.02, -0.01, 0.0])
    softened, _ = fit_sphere(0.11, shift, soften_mask)
    hard, _ = fit_sphere(0.11, shift, lambda mask: mask)
    assert softened < 0.25 < 0.6 < hard


def test_softened_mask_is_close_to_the_soft_mask_of_the_mesh():
    vertices, triangles = sphere_mesh(40, 60, 0.1)
    drawn = render_mesh(vertices, triangles, vertices, rig(64))
    softened = soften_mask(drawn.mask)
    assert softened.shape == drawn.mask.shape
    assert torch.equal(softened == 1, drawn.mask == 1)
    band = (drawn.soft_mask > 0) & (drawn.mask == 0)
    difference = (softened - drawn.soft_mask)[band]
    assert difference.abs().mean() < 0.1  # the outline inside each pixel is not known from a mask
    assert difference.mean().abs() < 0.05


def test_outlines_outside_the_image_reach_into_it():
    vertices = on_screen((-1.0, -9.0), (-9.0, 4.0), (-1.0, 30.0))
    vertices = vertices[[0, 2, 1]] if _is_hidden(vertices) else vertices
    drawn = render_mesh(vertices, torch.tensor([[0, 1, 2]]), vertices, flat_camera(8, 8))
    assert drawn.mask.max() == 0
    torch.testing.assert_close(drawn.soft_mask[0, 4], profile(torch.arange(8) + 1.5), atol=1e-5, rtol=0)


def test_camera_axis_flip_mirrors_the_mask():
    """The mask is computed on centres at +0.5: mirroring K mirrors the image exactly, without a half-pixel shift."""
    vertices, triangles = sphere_mesh(16, 24, 0.1)
    camera = Camera.look_at(torch.tensor([0.02, 0.0, 1.0]), torch.tensor([0.02, 0.0, 0.0]), 100.0, 32, 32)
    mirrored = vertices * torch.tensor([-1.0, 1.0, 1.0])
    other = Camera.look_at(torch.tensor([-0.02, 0.0, 1.0]), torch.tensor([-0.02, 0.0, 0.0]), 100.0, 32, 32)
    ours = render_mesh(vertices, triangles, vertices, camera).soft_mask
    theirs = render_mesh(mirrored, triangles.flip(1), vertices, other).soft_mask
    assert (ours - theirs.flip(-1)).abs().max() < 1e-4
