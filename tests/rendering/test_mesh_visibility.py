"""Which face a pixel shows: exact rules, equal in every back end."""

import numba
import pytest
import torch
from mesh_scenes import bumpy_sphere, flat_camera, on_screen, rig
from scipy.spatial import Delaunay

from gha.geometry import Camera
from gha.rendering import barycentrics, mesh_visibility, rasterize, render_mesh
from gha.rendering.mesh_projection import project_mesh
from gha.rendering.mesh_visibility import find_visible

BACKENDS = ["numba", "torch", "reference"]
FRONT = torch.tensor([[0, 1, 2]])


def coverage_by_face(vertices, triangles, camera, backend):
    """How many of the triangles, each drawn alone, cover each pixel [H, W]."""
    return sum((rasterize(vertices, face[None], camera, backend) >= 0).long() for face in triangles)


def facing_camera(points, triangles):
    """The triangles [F, 3] turned so that the flat camera sees their outside."""
    (ab, ac) = (points[triangles][:, 1:] - points[triangles][:, :1]).unbind(1)
    clockwise = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0] > 0
    return torch.where(clockwise[:, None], triangles.flip(1), triangles)


@pytest.mark.parametrize("backend", BACKENDS)
def test_triangle_covers_the_pixels_whose_centres_it_holds(backend):
    vertices = on_screen((1.0, 1.0), (1.0, 7.0), (7.0, 1.0))
    faces = rasterize(vertices, FRONT, flat_camera(9, 8), backend)
    x, y = torch.arange(9) + 0.5, torch.arange(8)[:, None] + 0.5
    expected = (x > 1) & (y > 1) & (x + y < 8)
    assert faces.dtype == torch.int64
    assert torch.equal(faces >= 0, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_back_faces_are_culled(backend):
    vertices = on_screen((1.0, 1.0), (1.0, 7.0), (7.0, 1.0))
    assert (rasterize(vertices, FRONT.flip(1), flat_camera(8, 8), backend) == -1).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_edges_through_pixel_centres_leave_no_gap_and_no_overlap(backend):
    """The hardest case: every edge and every vertex of a grid lies exactly on pixel centres."""
    x, y = torch.meshgrid(torch.arange(7) + 0.5, torch.arange(7) + 0.5, indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], dim=-1)
    corner = (torch.arange(6)[:, None] * 7 + torch.arange(6)).flatten()
    a, b, c, d = corner, corner + 1, corner + 8, corner + 7
    triangles = torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])
    vertices = torch.cat([points, torch.ones(49, 1)], dim=-1)
    triangles = facing_camera(points, triangles)
    count = coverage_by_face(vertices, triangles, flat_camera(8, 8), backend)
    assert count.max() == 1
    assert count.sum() == 36


def test_a_random_triangulation_covers_each_pixel_once():
    points = torch.cat([torch.rand(60, 2) * 20, torch.tensor([[0.0, 0.0], [0.0, 20.0], [20.0, 0.0], [20.0, 20.0]])])
    points[:30] = points[:30].floor() + 0.5
    points = torch.unique(points, dim=0)
    triangles = facing_camera(points, torch.from_numpy(Delaunay(points.numpy()).simplices).long())
    vertices = torch.cat([points, torch.ones(len(points), 1)], dim=-1)
    assert (coverage_by_face(vertices, triangles, flat_camera(20, 20), "numba") == 1).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_nearer_face_is_shown_and_intersections_cut_where_they_should(backend):
    flat = on_screen((0.0, 0.0), (0.0, 40.0), (40.0, 0.0), depth=2.0)
    tilted = on_screen((0.0, 0.0), (0.0, 40.0), (40.0, 0.0), depth=torch.tensor([1.0, 1.0, 4.0]))
    faces = rasterize(torch.cat([flat, tilted]), torch.tensor([[0, 1, 2], [3, 4, 5]]), flat_camera(20, 10), backend)
    x = torch.arange(20) + 0.5
    tilted_depth = 1 / (1 + (1 / 4 - 1) * x / 40)
    assert torch.equal(faces, (tilted_depth < 2).long().expand(10, 20))


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_depth_goes_to_the_lower_face(backend):
    vertices = on_screen((0.0, 0.0), (0.0, 9.0), (9.0, 0.0), depth=1.5)
    faces = rasterize(vertices, FRONT.repeat(3, 1), flat_camera(4, 4), backend)
    assert (faces == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_faces_that_reach_the_near_plane_are_not_drawn(backend):
    vertices = on_screen((0.0, 0.0), (0.0, 9.0), (9.0, 0.0), depth=torch.tensor([1.0, 1.0, 0.125]))
    assert (rasterize(vertices, FRONT, flat_camera(4, 4), backend, near=0.125) == -1).all()
    assert (rasterize(vertices, FRONT, flat_camera(4, 4), backend, near=0.124) == 0).all()


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("bumps", [0.0, 0.02])
def test_back_ends_agree_with_the_reference(backend, bumps):
    vertices, triangles = bumpy_sphere(bumps=bumps)
    cameras = rig(40, distance=0.35, focal=1.2)
    mesh = project_mesh(vertices, triangles, cameras, near=0.01)
    for found, expected in zip(find_visible(mesh, backend, 3.0), find_visible(mesh, "reference", 3.0), strict=True):
        assert (expected >= 0).float().mean() > 0.1
        assert torch.equal(found, expected)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_wild_vertices_do_no_harm(backend):
    """Far outside the image, infinite or undefined: the faces that use them vanish or stay exact, the rest is drawn."""
    vertices = torch.cat([on_screen((0.0, 0.0), (0.0, 9.0), (9.0, 0.0)), on_screen((4.0, 4.0), (4.0, 3e5), (3e5, 4.0))])
    wild = torch.tensor([[float("nan")] * 3, [float("inf"), 0.0, 1.0], [1e30, -1e30, 1.0]])
    triangles = torch.tensor([[0, 1, 2], [0, 1, 6], [0, 7, 2], [3, 4, 5]])
    faces = rasterize(torch.cat([vertices, wild]), triangles, flat_camera(8, 8), backend)
    tame = rasterize(vertices, triangles[[0, 3]], flat_camera(8, 8), backend)
    assert torch.equal(faces, torch.tensor([0, 3, -1])[tame])


def test_results_do_not_depend_on_the_number_of_threads():
    vertices, triangles = bumpy_sphere(20, 31)
    mesh = project_mesh(vertices, triangles, rig(48, views=1), near=0.01)
    several = find_visible(mesh, "numba", 3.0)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    single = find_visible(mesh, "numba", 3.0)
    numba.set_num_threads(threads)
    assert torch.equal(several[0], single[0])
    assert torch.equal(several[1], single[1])


def test_a_crop_of_the_camera_is_a_crop_of_the_image():
    vertices, triangles = bumpy_sphere(bumps=0.0)
    camera = rig(64)
    whole = rasterize(vertices, triangles, camera)
    window = rasterize(vertices, triangles, camera.crop(11, 17, 32, 30))
    assert (whole >= 0).any(dim=0).float().mean() > 0.1
    assert (window != whole[:, 17:47, 11:43]).sum() <= 2  # a centre within rounding of an edge


def test_batched_is_looped():
    vertices = torch.stack([bumpy_sphere()[0] for _ in range(2)])
    triangles = bumpy_sphere()[1]
    cameras = rig(32)
    both = Camera(cameras.w2c.expand(2, 3, 4, 4), cameras.K.expand(2, 3, 3, 3), 32, 32)
    faces = rasterize(vertices, triangles, both)
    assert faces.shape == (2, 3, 32, 32)
    for geometry in range(2):
        for view in range(3):
            assert torch.equal(faces[geometry, view], rasterize(vertices[geometry], triangles, cameras[view]))
    paired = rasterize(vertices, triangles, both[:, 0])
    assert torch.equal(paired, faces[:, 0])
    assert torch.equal(rasterize(vertices, triangles, cameras[1]), faces[:, 1])


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_no_triangles_give_empty_images(backend):
    vertices = torch.rand(4, 3, requires_grad=True)
    drawn = render_mesh(vertices, torch.zeros(0, 3, dtype=torch.long), torch.rand(4, 2), rig(8), backend=backend)
    assert drawn.attributes.shape == (3, 2, 8, 8)
    drawn.soft_mask.sum().backward()
    assert drawn.soft_mask.abs().max() == 0
    assert vertices.grad.abs().max() == 0


def test_barycentrics_are_weights():
    vertices, triangles = bumpy_sphere()
    camera = rig(32)
    faces = rasterize(vertices, triangles, camera)
    weights = barycentrics(vertices, triangles, camera, faces)
    assert weights.shape == (3, 3, 32, 32)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(1), (faces >= 0).float())
    points = (weights[..., None] * vertices[triangles[faces.clamp_min(0)]].permute(0, 3, 1, 2, 4)).sum(1)
    pixels, _ = camera.project(points.flatten(1, 2))
    centres = torch.stack(torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="xy"), dim=-1)
    error = (pixels.reshape(3, 32, 32, 2) - centres).abs()[faces >= 0]
    assert error.max() < 1e-3


def test_mistakes_are_named():
    vertices, triangles = bumpy_sphere()
    with pytest.raises(ValueError, match=r"leading dimensions of the camera are \[3\], expected .* \[2\]"):
        rasterize(vertices.expand(2, -1, -1), triangles, rig(8))
    with pytest.raises(ValueError, match=r"triangles name vertices 0 to 105, expected 0 to 104"):
        rasterize(vertices[:-1], triangles, rig(8))
    with pytest.raises(ValueError, match=r"triangles have shape \[3\], expected \[F, 3\]"):
        rasterize(vertices, triangles[0], rig(8))
    with pytest.raises(ValueError, match="expected integer vertex ids"):
        rasterize(vertices, triangles.float(), rig(8))
    with pytest.raises(ValueError, match=r"vertices have shape \[106, 2\], expected \[..., Nv, 3\]"):
        rasterize(vertices[:, :2], triangles, rig(8))
    with pytest.raises(ValueError, match="expected float32 or float64"):
        rasterize(vertices.half(), triangles, rig(8))
    with pytest.raises(ValueError, match=r"attributes have shape \[5, 3\], expected one row for each of 106 vertices"):
        render_mesh(vertices, triangles, vertices[:5], rig(8))
    with pytest.raises(ValueError, match="backend is 'opengl', expected one of"):
        rasterize(vertices, triangles, rig(8), backend="opengl")
    with pytest.raises(ValueError, match="triton mesh back end cannot draw tensors on 'cpu'"):
        rasterize(vertices, triangles, rig(8), backend="triton")


def test_triton_that_cannot_compile_is_reported_and_not_chosen(monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(mesh_visibility, "rasterize", fail)
    assert not mesh_visibility._triton_works("cpu")
    assert "Failed to find C compiler" in caplog.text
    monkeypatch.setattr(mesh_visibility, "_triton_works", lambda device: False)
    assert mesh_visibility._automatic_backend.__wrapped__("cuda") == "torch"
    monkeypatch.setattr(mesh_visibility, "_triton_works", lambda device: True)
    assert mesh_visibility._automatic_backend.__wrapped__("cuda") == "triton"
