import math

import pytest
import torch

from gha.geometry import (
    Neighbours,
    axis_angle_to_matrix,
    face_areas,
    face_normals,
    laplacian_loss,
    uniform_laplacian,
    vertex_normals,
)

# A square pyramid without its base: an apex over four base corners, so with a border.
VERTICES = torch.tensor([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [-1.0, 1.0, 0.0], [-1.0, -1.0, 0.0], [1.0, -1.0, 0.0]])
TRIANGLES = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]])


def test_normals_and_areas_of_a_pyramid():
    expected = torch.tensor([[0.0, 1.0, 1.0], [-1.0, 0.0, 1.0], [0.0, -1.0, 1.0], [1.0, 0.0, 1.0]]) / math.sqrt(2)
    torch.testing.assert_close(face_normals(VERTICES, TRIANGLES), expected)
    torch.testing.assert_close(face_areas(VERTICES, TRIANGLES), torch.full((4,), math.sqrt(2)))
    normals = vertex_normals(VERTICES, TRIANGLES)
    torch.testing.assert_close(normals[0], torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(normals[1], torch.tensor([1.0, 1.0, 2.0]) / math.sqrt(6))


def test_vertex_normals_weigh_by_area():
    # Vertex 0 between a face of area 1/2 facing z and one of area 2 facing x.
    vertices = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [0.0, 1, 0], [0.0, 0, 4]])
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]))
    torch.testing.assert_close(normals[0], torch.nn.functional.normalize(torch.tensor([2.0, 0.0, 0.5]), dim=0))


def test_normals_turn_with_the_mesh_and_ignore_scale_and_place():
    rotation = axis_angle_to_matrix(torch.tensor([0.4, -1.1, 0.3]))
    moved = 1e-4 * VERTICES @ rotation.T + 3e-4
    torch.testing.assert_close(vertex_normals(moved, TRIANGLES), vertex_normals(VERTICES, TRIANGLES) @ rotation.T)
    torch.testing.assert_close(face_normals(moved, TRIANGLES), face_normals(VERTICES, TRIANGLES) @ rotation.T)


def test_degenerate_faces_and_unused_vertices_have_zero_normals_and_finite_gradients():
    vertices = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0], [5.0, 5, 5]], requires_grad=True)
    triangles = torch.tensor([[0, 1, 2]])
    total = face_normals(vertices, triangles).sum() + vertex_normals(vertices, triangles).sum()
    (gradient,) = torch.autograd.grad(total, vertices)
    assert float(total.detach()) == 0
    assert gradient.isfinite().all()


def test_batches_are_meshes_one_by_one():
    batch = torch.stack([VERTICES, 2 * VERTICES + 1, VERTICES.flip(1)]).view(3, 1, 5, 3)
    for operator in (face_normals, vertex_normals, face_areas, laplacian):
        together = operator(batch, TRIANGLES)
        apart = torch.stack([operator(mesh[0], TRIANGLES) for mesh in batch])[:, None]
        torch.testing.assert_close(together, apart)


def laplacian(vertices, triangles):
    return uniform_laplacian(vertices, Neighbours.of(triangles, vertices.shape[-2], vertices.dtype))


def test_laplacian_counts_neighbours_once_per_face():
    expected = torch.zeros(5, 3)
    for vertex in range(5):
        differences = [
            VERTICES[other] - VERTICES[vertex]
            for face in TRIANGLES.tolist()
            if vertex in face
            for other in face
            if other != vertex
        ]
        expected[vertex] = torch.stack(differences).mean(0)
    torch.testing.assert_close(laplacian(VERTICES, TRIANGLES), expected)
    # The apex sees its four neighbours twice each; a base corner sees the apex twice and its border neighbours once.
    torch.testing.assert_close(expected[0], torch.tensor([0.0, 0.0, -1.0]))
    torch.testing.assert_close(expected[1], torch.tensor([-1.0, -1.0, 0.5]))
    torch.testing.assert_close(laplacian_loss(VERTICES, Neighbours.of(TRIANGLES, 5)), torch.tensor((1 + 4 * 2.25) / 15))


def test_laplacian_of_a_regular_flat_grid_is_zero_inside():
    ticks = torch.arange(5.0)
    vertices = torch.cartesian_prod(ticks, ticks)
    vertices = torch.cat([vertices, 0.3 * vertices[:, :1] - vertices[:, 1:]], dim=1)  # a tilted plane
    corner = torch.tensor([i * 5 + j for i in range(4) for j in range(4)])
    triangles = torch.cat([corner[:, None] + torch.tensor(t) for t in ([0, 5, 6], [0, 6, 1])])
    inner = laplacian(vertices, triangles).view(5, 5, 3)[1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.zeros(3, 3, 3), atol=1e-6, rtol=0)


def test_laplacian_keeps_its_digits_far_from_the_origin():
    small = 1e-3 * VERTICES
    far = small + 1.0
    near, away = laplacian(small, TRIANGLES), laplacian(far, TRIANGLES)
    assert float((near - away).abs().max()) < 2e-7


def test_laplacian_ignores_unused_vertices():
    extended = torch.cat([VERTICES, torch.tensor([[9.0, 9.0, 9.0]])])
    result = laplacian(extended, TRIANGLES)
    assert result[5].abs().max() == 0
    assert result.isfinite().all()


@pytest.mark.parametrize("operator", [face_normals, vertex_normals, laplacian])
def test_gradients(operator):
    vertices = (VERTICES.double() + 0.1 * torch.sin(torch.arange(15.0).double()).view(5, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: operator(v, TRIANGLES), vertices)
