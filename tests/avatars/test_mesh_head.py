import pytest
import torch
from tiny_heads import EXPRESSIONS, mesh_config

from gha.avatars import MeshHead
from gha.avatars.mesh_head import MeshHeadConfig
from gha.errors import TrainingError
from gha.geometry import area_vectors, is_closed, surface_distance


def test_initial_surface_is_the_sphere(sphere_head):
    surface = sphere_head.eval().neutral_surface()
    radii = surface.vertices.norm(dim=-1)
    assert (radii - 0.95).abs().max() < 0.1
    assert is_closed(surface.triangles)
    centers = surface.vertices[surface.triangles].mean(1)
    assert ((area_vectors(surface.vertices, surface.triangles) * centers).sum(-1) > 0).all(), "triangles face outwards"
    assert surface.features.abs().max() < 1


def test_everything_learns_from_vertices_and_colors(sphere_head, code):
    posed = sphere_head.train()(code)
    assert posed.mesh.vertices.shape == (2, *posed.auxiliaries.canonical_vertices.shape[1:])
    loss = posed.mesh.vertices.square().sum() + posed.mesh.colors.square().sum() + posed.auxiliaries.landmarks.sum()
    loss.backward()
    silent = [name for name, p in sphere_head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_codes_of_a_batch_do_not_mix(sphere_head, code):
    sphere_head.eval()
    together, alone = sphere_head(code).mesh, sphere_head(code[1:]).mesh
    torch.testing.assert_close(together.vertices[1:], alone.vertices)
    torch.testing.assert_close(together.colors[1:], alone.colors)


def test_pose_moves_the_head_as_a_similarity(sphere_head, code):
    """Canonical vertices follow scale * R x + t; what the networks add is in canonical space."""
    with torch.no_grad():
        sphere_head.fields.neck.height.fill_(-10.0)  # all of it is head
    posed = sphere_head.train()(code)
    torch.testing.assert_close(
        code.to_canonical(posed.mesh.vertices), posed.auxiliaries.canonical_vertices, atol=1e-5, rtol=0
    )


def test_a_lost_surface_is_explained(landmarks):
    head = MeshHead(mesh_config(), EXPRESSIONS, landmarks)
    with torch.no_grad():
        head.geometry.last_layer.weight.zero_()
        head.geometry.last_layer.bias.fill_(1.0)
    with pytest.raises(TrainingError, match="positive"):
        head.neutral_surface()


def test_finer_lattice_lies_on_the_trained_surface(sphere_head):
    """The original halves vertex offsets at the transfer, so its Gaussians are off the surface it trained."""
    with torch.no_grad():
        # Exaggerated constant offsets show at once whether the finer surface applies the same ones.
        sphere_head.geometry.last_layer.weight[1:4] = 0
        sphere_head.geometry.last_layer.bias[1:4] = torch.tensor([5.0, 0.0, 0.0])
    sphere_head.eval()
    coarse = sphere_head.neutral_surface()
    fine = sphere_head.neutral_surface(sphere_head.lattice(15.0))
    assert len(fine.vertices) > 3 * len(coarse.vertices)
    offset = 0.1 * 0.3  # fraction of the edge in decimetres
    shift = fine.vertices.mean(0) - torch.tensor([offset, 0.0, 0.0])
    distance = surface_distance(fine.vertices.detach(), coarse.vertices.detach(), coarse.triangles)
    assert distance.median() < 0.01
    assert coarse.vertices.mean(0)[0].item() == pytest.approx(fine.vertices.mean(0)[0].item(), abs=0.005)
    assert shift.norm() < 0.05


@pytest.mark.parametrize("with_offset", [True, False])
def test_landmarks_start_with_or_without_the_vertex_offset(sphere_head, code, with_offset):
    sphere_head.config.landmark_offset = with_offset
    with torch.no_grad():
        # The same offset everywhere, and an expression that moves nothing.
        sphere_head.geometry.last_layer.weight[1:4] = 0
        sphere_head.geometry.last_layer.bias[1:4] = torch.tensor([5.0, 0.0, 0.0])
        sphere_head.fields.expression_deform.last_layer.weight.zero_()
        sphere_head.fields.expression_deform.last_layer.bias.zero_()
    landmarks = sphere_head.train()(code).auxiliaries.landmarks
    shift = torch.tensor([0.1 * 0.3, 0.0, 0.0]) if with_offset else torch.zeros(3)  # fraction of the edge, decimetres
    expected = (sphere_head.neutral_landmarks + shift).expand_as(landmarks)
    torch.testing.assert_close(landmarks, expected, atol=1e-5, rtol=0)
    landmarks.sum().backward()
    bias = sphere_head.geometry.last_layer.bias.grad
    assert (bias is not None and bias[1:4].abs().sum() > 0) == with_offset


def test_decode_shows_the_first_three_channels(sphere_head):
    features, alpha = torch.rand(1, 5, 4, 4), torch.rand(1, 1, 4, 4)
    color, alpha_out = sphere_head.decode(features, alpha)
    assert torch.equal(color, features[:, :3])
    assert torch.equal(alpha_out, alpha)


def test_frames_share_one_search_until_something_is_trained(sphere_head, code, monkeypatch):
    sphere_head.eval()
    searches = []
    search = sphere_head._find
    monkeypatch.setattr(sphere_head, "_find", lambda lattice: searches.append(lattice) or search(lattice))
    first = sphere_head(code).mesh
    again = sphere_head(code).mesh
    assert len(searches) == 1
    assert torch.equal(first.vertices, again.vertices)
    assert torch.equal(first.triangles, again.triangles)
    with torch.no_grad():
        sphere_head.geometry.last_layer.bias[0] += 0.1
    smaller = sphere_head(code).mesh
    assert len(searches) == 2
    assert smaller.vertices.shape != first.vertices.shape
    sphere_head._still = None
    assert torch.equal(sphere_head(code).mesh.vertices, smaller.vertices)


def test_what_was_found_in_inference_may_be_differentiated(sphere_head, code):
    sphere_head.eval()
    with torch.inference_mode():
        sphere_head(code[:1])
    sphere_head(code).mesh.vertices.sum().backward()
    assert sphere_head.geometry.last_layer.weight.grad is not None


def test_searches_become_rarer_where_that_is_asked_for():
    config = MeshHeadConfig(search_interval=20, search_relaxes_after=1000)
    assert [config.search_interval_at(step) for step in (0, 999, 1999, 2000, 3999, 4000, 9000)] == [
        20, 20, 20, 40, 40, 80, 160
    ]  # fmt: skip
    assert {MeshHeadConfig(search_interval=20).search_interval_at(step) for step in (0, 10**6)} == {20}
