"""Attributes, depth and normals against closed forms; gradients against finite differences."""

import pytest
import torch
from mesh_scenes import bumpy_sphere, flat_camera, on_screen, rig

from gha.geometry import Camera
from gha.rendering import render_mesh
from gha.rendering.mesh_shapes import sphere_mesh

FRONT = torch.tensor([[0, 1, 2]])
FIELDS = ("attributes", "mask", "soft_mask", "depth", "normals")


def pixel_rays(camera):
    """World directions [H, W, 3] of the pixel centres of a single camera, at depth 1."""
    x, y = torch.meshgrid(torch.arange(camera.width) + 0.5, torch.arange(camera.height) + 0.5, indexing="xy")
    rays = torch.stack([x, y, torch.ones_like(x)], dim=-1).to(camera.K) @ camera.K.inverse().T
    return rays @ camera.w2c[:3, :3]


def test_interpolation_is_perspective_correct():
    """A steep plane that carries its own position shows, at each pixel, the point where the ray meets it."""
    camera = Camera.look_at(torch.tensor([0.3, -0.2, 2.0]), torch.zeros(3), 60.0, 32, 24).crop(2, -3, 32, 24)
    vertices = torch.tensor([[-3.0, -2.0, -2.0], [1.5, -2.0, 1.2], [0.0, 2.0, -0.5]])
    drawn = render_mesh(vertices, FRONT, vertices, camera)
    normal = torch.linalg.cross(vertices[1] - vertices[0], vertices[2] - vertices[0], dim=0)
    rays = pixel_rays(camera)
    depth = ((vertices[0] - camera.center) @ normal) / (rays @ normal)
    expected = (camera.center + depth[..., None] * rays).permute(2, 0, 1)
    assert drawn.mask.mean() > 0.4
    torch.testing.assert_close(drawn.attributes, expected * drawn.mask, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(drawn.depth[0], depth * drawn.mask[0], rtol=1e-4, atol=1e-4)


def test_normals_of_a_sphere():
    vertices, triangles = sphere_mesh(60, 90, 0.1)
    camera = rig(48)
    drawn = render_mesh(vertices, triangles, vertices, camera)
    covered = drawn.mask[:, 0] > 0
    normals, points = (image.permute(0, 2, 3, 1)[covered] for image in (drawn.normals, drawn.attributes))
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(len(normals)))
    assert (normals * torch.nn.functional.normalize(points, dim=-1)).sum(-1).min() > 0.998
    towards = camera.center[:, None, None].expand(-1, 48, 48, -1)[covered] - points
    assert (normals * towards).sum(-1).min() > 0
    assert drawn.normals[~covered[:, None].expand_as(drawn.normals)].abs().max() == 0


def test_depth_of_a_sphere_is_z_depth():
    vertices, triangles = sphere_mesh(80, 120, 0.1)
    camera = rig(32, views=1)[0]
    drawn = render_mesh(vertices, triangles, vertices, camera)
    points = drawn.attributes.flatten(1).T
    _, depth = camera.project(points)
    covered = drawn.mask.flatten() > 0
    torch.testing.assert_close(drawn.depth.flatten()[covered], depth[covered], rtol=1e-5, atol=1e-5)
    assert (points[covered].norm(dim=-1) - 0.1).abs().max() < 3e-4


def scene64():
    """A few large faces in float64, with a camera that sees all of them."""
    vertices, triangles = sphere_mesh(2, 4, 0.1)
    camera = rig(9, views=2, focal=3.0).to(dtype=torch.float64)
    return (vertices + 0.01 * torch.randn(vertices.shape)).double(), triangles, camera


def test_gradient_to_attributes():
    vertices, triangles, camera = scene64()
    attributes = torch.randn(len(vertices), 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: render_mesh(vertices, triangles, a, camera).attributes, attributes)


@pytest.mark.parametrize("field", ["attributes", "depth", "normals", "soft_mask"])
def test_gradient_to_vertices(field):
    vertices, triangles, camera = scene64()
    attributes = torch.randn(len(vertices), 2, dtype=torch.float64)

    def draw(moved):
        return getattr(render_mesh(moved, triangles, attributes, camera), field)

    assert draw(vertices).abs().sum() > 1
    assert torch.autograd.gradcheck(draw, vertices.requires_grad_(), eps=1e-8, atol=1e-4)


def test_gradient_to_the_camera_pose():
    vertices, triangles, camera = scene64()

    def draw(w2c):
        return render_mesh(vertices, triangles, vertices, Camera(w2c, camera.K, camera.width, camera.height)).attributes

    assert torch.autograd.gradcheck(draw, camera.w2c.clone().requires_grad_(), eps=1e-8, atol=1e-4)


def test_vertices_behind_the_camera_give_finite_gradients():
    vertices = torch.tensor([[0.0, 0.0, 1.0], [0.0, 9.0, 1.0], [9.0, 0.0, 1.0], [1.0, 1.0, 0.0]], requires_grad=True)
    drawn = render_mesh(vertices, torch.tensor([[0, 1, 2], [1, 2, 3]]), vertices, flat_camera(4, 4))
    (drawn.attributes.sum() + drawn.soft_mask.sum()).backward()
    assert vertices.grad.isfinite().all()
    assert vertices.grad[:3].abs().max() > 0


def test_rigid_motion_of_everything_changes_nothing_but_normals():
    vertices, triangles = bumpy_sphere(bumps=0.0)
    camera = rig(40, views=2)
    angle = torch.tensor(0.7)
    rotation = torch.tensor([[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]])
    shift = torch.tensor([0.3, -1.0, 0.5])
    motion = torch.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation, shift
    moved_camera = Camera(camera.w2c @ motion.inverse(), camera.K, camera.width, camera.height)
    attributes = torch.rand(len(vertices), 3)
    still = render_mesh(vertices, triangles, attributes, camera)
    moved = render_mesh(vertices @ rotation.T + shift, triangles, attributes, moved_camera)
    same = still.mask == moved.mask
    assert same.float().mean() > 0.999
    for field in ("attributes", "depth", "soft_mask"):
        difference = (getattr(still, field) - getattr(moved, field)).abs() * same
        assert difference.quantile(0.999) < 1e-3, field
    turned = torch.einsum("ij,vjhw->vihw", rotation, still.normals)
    assert (turned - moved.normals).abs().quantile(0.99) < 1e-4


def test_off_centre_principal_point_is_a_crop():
    vertices, triangles = bumpy_sphere(bumps=0.0)
    camera = rig(64, views=2)
    whole = render_mesh(vertices, triangles, vertices, camera)
    window = render_mesh(vertices, triangles, vertices, camera.crop(20, 9, 25, 30))
    for field in FIELDS:
        difference = getattr(whole, field)[..., 9:39, 20:45] - getattr(window, field)
        assert (difference.abs() > 1e-3).sum() <= 3, field


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_back_ends_draw_the_same_images_and_gradients(backend):
    vertices, triangles = bumpy_sphere(bumps=0.0)
    attributes = torch.rand(len(vertices), 4)
    weight = torch.rand(3, 4, 40, 40)
    results = []
    for name in ("numba", backend):
        moved = vertices.clone().requires_grad_()
        drawn = render_mesh(moved, triangles, attributes, rig(40), backend=name)
        ((drawn.attributes * weight).sum() + drawn.soft_mask.square().sum()).backward()
        results.append([getattr(drawn, field).detach() for field in FIELDS] + [moved.grad])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_batched_is_looped():
    vertices = torch.stack([bumpy_sphere()[0] for _ in range(2)])
    triangles = bumpy_sphere()[1]
    attributes = torch.rand(2, vertices.shape[1], 3)
    cameras = rig(32)
    both = Camera(cameras.w2c.expand(2, 3, 4, 4), cameras.K.expand(2, 3, 3, 3), 32, 32)
    batched = render_mesh(vertices, triangles, attributes, both)
    for geometry in range(2):
        for view in range(3):
            single = render_mesh(vertices[geometry], triangles, attributes[geometry], cameras[view])
            for field in FIELDS:
                assert torch.equal(getattr(batched, field)[geometry, view], getattr(single, field)), field


def test_attributes_without_leading_dimensions_are_shared():
    vertices = torch.stack([bumpy_sphere()[0] for _ in range(2)])
    triangles = bumpy_sphere()[1]
    attributes = torch.rand(vertices.shape[1], 3)
    shared = render_mesh(vertices, triangles, attributes, rig(32)[0])
    each = render_mesh(vertices, triangles, attributes.expand(2, -1, -1), rig(32)[0])
    assert shared.attributes.shape == (2, 3, 32, 32)
    assert torch.equal(shared.attributes, each.attributes)


def test_autocast_does_not_coarsen_geometry():
    vertices, triangles = bumpy_sphere(bumps=0.0)
    camera = rig(32)
    plain = render_mesh(vertices, triangles, vertices, camera)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = render_mesh(vertices, triangles, vertices, camera)
    for field in FIELDS:
        assert torch.equal(getattr(plain, field), getattr(mixed, field)), field


def test_slivers_stay_inside_the_range_of_their_corners():
    """Triangles thinner than rounding must not extrapolate."""
    offset = 1e-6 * torch.rand(200, 1)
    start = torch.rand(200, 2) * 16
    corners = torch.stack([start, start + torch.tensor([0.0, 8.0]), start + torch.tensor([0.0, 4.0])], dim=1)
    corners[:, 2, :1] += offset + 3e-4
    vertices = on_screen(*corners.reshape(-1, 2).tolist())
    attributes = torch.rand(len(vertices), 1) + 1
    drawn = render_mesh(vertices, torch.arange(600).reshape(-1, 3), attributes, flat_camera(16, 24))
    covered = drawn.attributes[drawn.mask > 0]
    assert (covered >= 1 - 1e-5).all()
    assert (covered <= 2 + 1e-5).all()
