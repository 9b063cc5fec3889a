"""The film camera: coverage, depth, texture, light and exposure against closed forms."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from film_scenes import EVEN, WHITE, camera, flat, joined, quad, sphere
from scipy.ndimage import gaussian_filter
from scipy.spatial import Delaunay

from gha.capture import film_develop, film_geometry, film_image, film_light, film_shading
from gha.capture.film import BLACK, Backdrop, FilmSurface, Lighting, compile_kernels, light_surface
from gha.capture.film import film_image as film
from gha.capture.film_textures import linear_to_srgb, pack_textures, srgb_to_linear
from gha.faces.face_model import Appearance, Material


def test_alpha_is_the_share_of_samples_inside_the_triangle():
    vertices = np.array([[-0.7, -0.9, 0.1], [0.8, -0.4, -0.2], [-0.1, 0.9, 0.0]], dtype=np.float32)
    triangle = np.array([[0, 1, 2]])
    look = Appearance(np.zeros((3, 2), np.float32), triangle, np.zeros(1, np.int64), (Material("skin", flat(90)),))
    view = camera(33, azimuth=10)
    _, alpha = film(FilmSurface.of(triangle, look), vertices, view, EVEN, supersample=3)

    corners = view.project(torch.from_numpy(vertices))[0].double().numpy()
    position = (np.arange(99) + 0.5) / 3
    x, y = np.meshgrid(position, position)
    signs = []
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        signs.append((bx - ax) * (y - ay) - (by - ay) * (x - ax))
    inside = np.all(np.array(signs) <= 0, axis=0)
    share = inside.reshape(33, 3, 33, 3).mean((1, 3))
    assert 0.1 < share.mean() < 0.5
    assert np.array_equal(alpha, np.floor(share * 255 + 0.5).astype(np.uint8))


def test_neighbouring_triangles_leave_no_gaps():
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.uniform(-1, 1, (400, 2)), [[-1, -1], [1, -1], [1, 1], [-1, 1]]])
    triangles = Delaunay(points).simplices
    vertices = np.concatenate([points, rng.normal(size=(len(points), 1)) * 0.02], axis=1).astype(np.float32)
    look = Appearance(
        np.zeros((1, 2), np.float32), np.zeros_like(triangles), np.zeros(len(triangles), np.int64),
        (Material("skin", flat(90), two_sided=True),),
    )  # fmt: skip
    _, alpha = film(FilmSurface.of(triangles, look), vertices, camera(128, focal=2.5), EVEN, supersample=2)
    assert (alpha == 255).all()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_surface_hides_the_farther(order):
    parts = [quad(flat((200, 10, 10)), depth=0.5, size=0.5), quad(flat((10, 200, 10)), depth=0.0)]
    vertices, surface = joined(*(parts[i] for i in order))
    rgb, _ = film(surface, vertices, camera(), EVEN)
    assert tuple(rgb[32, 32]) == (200, 10, 10)
    assert tuple(rgb[32, 20]) == (10, 200, 10)


def test_back_faces_are_culled_unless_two_sided():
    for two_sided in (False, True):
        vertices, surface = joined(quad(flat(120), two_sided=two_sided))
        _, alpha = film(surface, vertices, camera(azimuth=180), EVEN)
        assert alpha[32, 32] == (255 if two_sided else 0)


def test_texture_survives_decoding_and_encoding():
    for value in (0, 3, 60, 128, 200, 255):
        vertices, surface = joined(quad(flat((value, 255 - value, 40))))
        rgb, _ = film(surface, vertices, camera(), EVEN, BLACK)
        assert np.abs(rgb[32, 32].astype(int) - (value, 255 - value, 40)).max() <= 1


def test_texture_is_upright():
    texture = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)
    vertices, surface = joined(quad(texture.repeat(32, 0).repeat(32, 1)))
    rgb, _ = film(surface, vertices, camera(), EVEN)
    quarters = [rgb[20, 20], rgb[20, 44], rgb[44, 20], rgb[44, 44]]
    assert [tuple(int(v) for v in q) for q in quarters] == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]


def test_texture_coordinates_are_perspective_correct():
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (256, 256, 3)).copy()
    vertices, surface = joined(quad(ramp))
    view = camera(64, azimuth=40, distance=3.0)
    rgb, alpha = film(surface, vertices, view, EVEN)
    centre = view.center.numpy()
    for column in (22, 28, 34, 40):
        assert alpha[32, column] == 255
        pixel = np.array([column + 0.5, 32.5, 1.0])
        ray = view.w2c[:3, :3].numpy().T @ np.linalg.inv(view.K.numpy()) @ pixel
        hit = centre + ray * (-centre[2] / ray[2])
        assert abs(rgb[32, column, 0] - ((hit[0] + 1) / 2 * 256 - 0.5)) < 2.0


def test_fine_patterns_are_averaged_in_linear_light():
    checks = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    vertices, surface = joined(quad(checks))
    rgb, _ = film(surface, vertices, camera(32, distance=8.0), EVEN)
    middle = rgb[12:20, 12:20].astype(float)
    assert np.abs(middle - 255 * linear_to_srgb(np.array(0.5))).max() < 3


def test_exposure_multiplies_linear_light():
    vertices, surface = joined(quad(flat(100)))
    plain, mask = film(surface, vertices, camera(), EVEN, BLACK)
    bright, same_mask = film(surface, vertices, camera(), EVEN, BLACK, gain=(2.0, 1.0, 0.5))
    ratio = srgb_to_linear(bright[32, 32] / 255) / srgb_to_linear(plain[32, 32] / 255)
    assert np.allclose(ratio, [2.0, 1.0, 0.5], rtol=0.03)
    assert np.array_equal(mask, same_mask)


def test_the_backdrop_fades_from_centre_to_corners():
    vertices, surface = joined(quad(flat(0), size=0.01, depth=1.0))
    vertices[:, 0] += 3.0  # out of sight
    rgb, alpha = film(surface, vertices, camera(101), EVEN, Backdrop((0.8, 0.7, 0.6), (0.2, 0.3, 0.4)))
    assert (alpha == 0).all()
    assert np.abs(rgb[50, 50] / 255 - [0.8, 0.7, 0.6]).max() < 0.01
    assert np.abs(rgb[0, 0] / 255 - [0.2, 0.3, 0.4]).max() < 0.04
    assert (film(surface, vertices, camera(16), EVEN, BLACK)[0] == 0).all()


def test_half_covered_pixels_mix_light_not_bytes():
    vertices, surface = joined(quad(flat(0)))
    rgb, alpha = film(surface, vertices, camera(63, distance=4.0), EVEN, WHITE, supersample=4)
    edge = (alpha > 20) & (alpha < 235)
    assert edge.any()
    expected = 255 * linear_to_srgb(1 - alpha[edge] / 255)
    assert np.abs(rgb[edge][:, 0] - expected).max() <= 2


def test_relief_tilts_the_surface_towards_the_light():
    hill = np.broadcast_to(np.linspace(0, 255, 256).astype(np.uint8)[None], (256, 256))  # rises to the right
    sideways = Lighting(
        sky=(0.1,) * 3, ground=(0.1,) * 3, key=(0.6,) * 3, key_direction=(-0.7, 0.0, 0.7), fill=(0.0,) * 3,
        shadow_directions=0,
    )  # fmt: skip
    level = {}
    for name, bump in (("flat", np.zeros((256, 256), np.uint8)), ("up", hill), ("down", hill[:, ::-1])):
        vertices, surface = joined(quad(flat(150, 256), bump=np.ascontiguousarray(bump), bump_depth=0.8))
        level[name] = int(film(surface, vertices, camera(), sideways)[0][32, 32, 0])
    assert level["up"] > level["flat"] + 3 > level["down"] + 6


def test_a_surface_under_a_lid_is_darker():
    points, triangles, uvs = sphere()
    ball = (
        points.astype(np.float32),
        triangles,
        Appearance(uvs, triangles, np.zeros(len(triangles), np.int64), (Material("skin", flat(128)),)),
    )
    lid = quad(flat(128), size=1.5)
    lid_vertices = lid[0][:, [0, 2, 1]] * [1, 1, -1] + [0, 1.3, 0]
    alone = light_surface(*joined(ball)[::-1])
    covered = light_surface(*joined(ball, (lid_vertices.astype(np.float32), lid[1], lid[2]))[::-1])
    top, bottom = points[:, 1].argmax(), points[:, 1].argmin()
    assert alone.openness[top] > 0.98
    assert covered.openness[top] < 0.35
    assert abs(covered.openness[bottom] - alone.openness[bottom]) < 0.1


def test_smooth_normals_of_a_sphere_point_outwards():
    points, triangles, _ = sphere()
    welded = {tuple(np.round(p, 5)): i for i, p in reversed(list(enumerate(points)))}
    ids = np.array([welded[tuple(np.round(p, 5))] for p in points])[triangles].astype(np.int32)
    ids = ids[(ids[:, 0] != ids[:, 1]) & (ids[:, 1] != ids[:, 2]) & (ids[:, 0] != ids[:, 2])]
    normals = film_light.smooth_normals(points.astype(np.float32), ids, ids, len(points))
    used = np.unique(ids)
    assert (normals[used] * points[used]).sum(1).min() > 0.99


def test_threads_make_the_same_bytes():
    points, triangles, uvs = sphere(40, 60)
    texture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    surface = FilmSurface.of(
        triangles, Appearance(uvs, triangles, np.zeros(len(triangles), np.int64), (Material("skin", texture),))
    )
    views = [camera(96, azimuth=a) for a in range(0, 80, 10)]
    lit = light_surface(surface, points)
    serial = [film(lit, None, view) for view in views]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda view: film(lit, None, view), views))
    for (one, one_mask), (other, other_mask) in zip(serial, parallel, strict=True):
        assert np.array_equal(one, other)
        assert np.array_equal(one_mask, other_mask)


def test_hair_is_lit_along_its_strands_from_both_sides():
    strand = quad(flat(180), size=0.4, name="hair", two_sided=True, specular=0.1, gloss=20.0)
    vertices, surface = joined(strand)
    lamp = Lighting(key_direction=(0.0, 0.0, 1.0), fill=(0.0,) * 3, shadow_directions=0)
    across = film(surface, vertices, camera(), lamp)[0][32, 32, 0]
    turned = vertices[:, [0, 2, 1]]  # the strand now points at the lamp; seen from above
    along = film(surface, turned, camera(elevation=80), lamp)[0][32, 32, 0]
    behind = film(surface, vertices, camera(azimuth=180), lamp)[0][32, 32, 0]
    assert across > along
    assert behind > 60


def test_bump_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"bump map \(4, 4\) must have the size of its texture \(8, 8\)"):
        pack_textures([Material("skin", flat(1), bump=np.zeros((4, 4), np.uint8))])


def test_mip_levels_halve_and_keep_the_mean():
    texture = np.random.default_rng(0).integers(0, 255, (37, 64, 3), dtype=np.uint8)
    packed = pack_textures([Material("a", flat(7)), Material("b", texture)])
    first, last = packed.first_level[1:3]
    sizes = packed.levels[first:last, 1:].tolist()
    assert sizes == [[37, 64], [19, 32], [10, 16], [5, 8]]
    start, height, width = packed.levels[last - 1]
    coarse = packed.texels[start : start + height * width, :3].mean(0) / 65535
    assert np.allclose(coarse, srgb_to_linear(texture / 255).mean((0, 1)), atol=0.02)


def test_compiled_kernels_do_what_their_source_says(monkeypatch):
    """The same scene through the kernels as plain Python; also what shows a coverage tool these lines."""
    hair = quad(flat(180), depth=0.8, size=0.3, name="hair", two_sided=True)
    hill = np.random.default_rng(0).integers(0, 255, (16, 16), dtype=np.uint8)
    vertices, surface = joined(quad(hill[..., None].repeat(3, 2), bump=hill, bump_depth=0.01, specular=0.2), hair)
    lights = Lighting(shadow_directions=3, shadow_resolution=8)
    view = camera(18, azimuth=15, elevation=10)
    compiled = film(light_surface(surface, vertices, lighting=lights), None, view, lights, lens_blur=0.7)
    for module in (film_develop, film_geometry, film_image, film_light, film_shading):
        for name, kernel in vars(module).copy().items():
            if hasattr(kernel, "py_func"):
                monkeypatch.setattr(module, name, kernel.py_func)
    plain = film(light_surface(surface, vertices, lighting=lights), None, view, lights, lens_blur=0.7)
    assert np.array_equal(compiled[1], plain[1])
    assert np.abs(compiled[0].astype(int) - plain[0]).max() <= 1
    assert compiled[0].std() > 10


@pytest.mark.parametrize("sigma", [0.0, 0.7, 1.5])
def test_the_lens_spreads_light_and_coverage_alike(sigma):
    vertices, surface = joined(quad(flat(200), size=0.5))
    view = camera(64)
    _, sharp = film(surface, vertices, view, EVEN, BLACK, supersample=4)
    rgb, alpha = film(surface, vertices, view, EVEN, BLACK, supersample=4, lens_blur=sigma)
    expected = gaussian_filter(sharp / 255.0, sigma, truncate=2.5, mode="nearest")
    assert np.abs(alpha / 255.0 - expected).max() < 0.01
    light = srgb_to_linear(rgb[..., 0] / 255)
    assert np.abs(light - light.max() * alpha / 255).max() < 0.02


def test_beyond_the_border_the_scene_goes_on():
    vertices, surface = joined(quad(flat(200), size=3.0))
    rgb, alpha = film(surface, vertices, camera(32, focal=2.5), EVEN, BLACK, lens_blur=2.0)
    assert (alpha == 255).all()
    assert rgb.std((0, 1)).max() < 1


def test_compiling_ahead_compiles_what_filming_uses():
    compile_kernels()
    vertices, surface = joined(quad(flat(200)))
    film(light_surface(surface, vertices), None, camera(32))
    kernels = (
        film_light.smooth_normals, film_light.openness, film_light.smooth_over_edges,
        film_geometry.project_vertices, film_geometry.make_records, film_image.photograph,
    )  # fmt: skip
    assert [len(kernel.signatures) for kernel in kernels] == [1] * 6
