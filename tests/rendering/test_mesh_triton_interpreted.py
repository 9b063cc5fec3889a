"""The Triton kernels on a CPU, by Triton's interpreter: the same faces, edges, pictures and gradients."""

import pytest
from interpreted import run_interpreted

pytest.importorskip("triton", reason="Triton is not installed")

SCRIPT = """
import torch
from gha.geometry import Camera
from gha.rendering import mesh_numba, mesh_triton, mesh_triton_shading
from gha.rendering.mesh_interpolation import draw_attributes
from gha.rendering.mesh_projection import project_mesh
from gha.rendering.mesh_shapes import sphere_mesh
from gha.rendering.mesh_silhouette import soft_silhouette

torch.manual_seed(0)
vertices, triangles = sphere_mesh(4, 6, 0.1)
vertices = vertices + 0.003 * torch.randn_like(vertices)
eyes = torch.tensor([[0.0, 0, 1], [0.5, 0.2, 0.8]])
for geometries, size in ((1, 2.5), (2, 1.0)):
    views = Camera.look_at(eyes.expand(geometries, 2, 3), torch.zeros(3), 24.0, 16, 13)
    posed = torch.stack([size * vertices, vertices.flip(-1) * 1.5])[:geometries].requires_grad_()
    attributes = torch.rand(geometries, len(vertices), 2, requires_grad=True)
    mesh = project_mesh(posed, triangles, views, 0.01)
    faces, expected = mesh_triton.visible_faces(mesh), mesh_numba.visible_faces(mesh)
    assert (expected >= 0).sum() > 20 and torch.equal(faces, expected)
    edges, expected = mesh_triton.nearest_edges(mesh, faces, 3.0), mesh_numba.nearest_edges(mesh, faces, 3.0)
    assert (expected >= 0).sum() > 20 and torch.equal(edges, expected)
    drawn = mesh_triton_shading.draw_attributes(mesh, faces, attributes)
    soft = mesh_triton_shading.draw_silhouette(mesh, faces, edges)
    plain, plain_soft = draw_attributes(mesh, faces, attributes), soft_silhouette(mesh, faces, edges)
    torch.testing.assert_close(drawn, plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(soft, plain_soft, rtol=1e-5, atol=1e-6)
    slopes, soft_slopes = torch.randn_like(drawn), torch.randn_like(soft)
    ours, theirs = (
        torch.autograd.grad((a * slopes).sum() + (b * soft_slopes).sum(), (posed, attributes), retain_graph=True)
        for a, b in ((drawn, soft), (plain, plain_soft))
    )
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).norm() < 1e-5 * b.norm()
print("agrees")
"""


def test_kernels_agree_with_the_cpu():
    run = run_interpreted("-c", SCRIPT)
    assert "agrees" in run.stdout, run.stderr
