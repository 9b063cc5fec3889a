"""Hair on any scalp: shapes, that strands cover and do not sink in, and even scattering."""

import numpy as np
import pytest

from gha.faces.hair import HAIR_STYLES, POINTS, grow_hair, hair_texture, scatter_on_surface


@pytest.fixture(scope="module")
def dome():
    """Roots and normals on the upper half of a sphere of radius 1 dm."""
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(1500, 3))
    normals[:, 1] = np.abs(normals[:, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals.copy(), normals


@pytest.mark.parametrize("style", HAIR_STYLES.values(), ids=lambda s: s.name)
def test_strands_follow_the_scalp(dome, style):
    roots, normals = dome
    strands = grow_hair(roots, normals, style, seed=1)
    assert strands.offsets.shape == (1500, POINTS, 2, 3)
    assert strands.offsets.dtype == np.float32
    vertices = strands.vertices(roots)
    radius = np.linalg.norm(vertices, axis=1)[vertices[:, 1] > 0.1]
    assert np.quantile(radius, 0.01) > 0.95
    assert np.quantile(radius, 0.99) < 1.05 + 1.3 * style.height + style.wave
    first = strands.offsets[:, 0].mean(1)
    assert np.abs(first).max() < 1e-6  # ribbons begin at their roots
    length = np.linalg.norm(np.diff(strands.offsets.mean(2), axis=1), axis=2).sum(1)
    assert 0.2 * style.length < np.median(length) < 1.6 * style.length + style.height


def test_same_seed_same_hair(dome):
    style = HAIR_STYLES["crop"]
    first, second = (grow_hair(*dome, style, seed=4) for _ in range(2))
    assert np.array_equal(first.offsets, second.offsets)
    assert np.array_equal(first.uvs, second.uvs)
    assert not np.array_equal(first.offsets, grow_hair(*dome, style, seed=5).offsets)


def test_growth_shortens_strands(dome):
    style = HAIR_STYLES["swept"]
    growth = np.linspace(0.2, 1.0, 1500)
    strands = grow_hair(*dome, style, seed=2, growth=growth)
    length = np.linalg.norm(np.diff(strands.offsets.mean(2), axis=1), axis=2).sum(1)
    assert length[:300].mean() < 0.6 * length[-300:].mean()


def test_ribbons_are_quads_of_two_triangles(dome):
    strands = grow_hair(*dome, HAIR_STYLES["wavy"], seed=0)
    assert strands.triangles.shape == (1500 * (POINTS - 1) * 2, 3)
    strand_of = strands.triangles // (2 * POINTS)
    assert (strand_of == strand_of[:, :1]).all()
    assert len(np.unique(strands.triangles)) == 1500 * POINTS * 2
    u = strands.uvs.reshape(1500, -1, 2)
    assert (u[:, :, 0] == u[:, :1, 0]).all()
    assert (np.diff(u[:, ::2, 1], axis=1) < 0).all()


def test_scatter_is_even_and_respects_density():
    # A square of two triangles of equal area beside one with no density.
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0], [2, 1, 0]], dtype=float)
    triangles = np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5]])
    density = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    chosen, weights = scatter_on_surface(vertices, triangles, density, 1000, seed=0)
    assert set(chosen) == {0, 1}
    assert abs((chosen == 0).mean() - 0.5) < 0.01
    np.testing.assert_allclose(weights.sum(1), 1)
    assert weights.min() >= 0
    points = (vertices[triangles[chosen]] * weights[..., None]).sum(1)
    np.testing.assert_allclose(points.mean(0), [0.5, 0.5, 0], atol=0.04)


def test_texture_runs_from_dark_roots_to_light_tips():
    texture = hair_texture(np.array([0.4, 0.3, 0.2]), seed=0).astype(float)
    assert texture.shape == (64, 256, 3)
    assert texture[0].mean() < 0.7 * texture[-1].mean()
    assert texture[32].mean(-1).std() > 5  # strands differ
