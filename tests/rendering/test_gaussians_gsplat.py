"""The gsplat adapter without a GPU: a stand-in with gsplat's signatures and shapes, drawn by the reference."""

import sys
from types import SimpleNamespace

import pytest
import torch
from gaussian_scenes import INPUTS, make_camera, make_gaussians, relative_error, render_with_gradients

from gha.geometry import Camera
from gha.rendering import Gaussians, RenderOptions, render_gaussians
from gha.rendering import gaussian_rendering as dispatch
from gha.rendering.projection import project_gaussians
from gha.rendering.torch_backend import blend

OPTIONS = RenderOptions(alpha_cap=0.999)


class StandIn:
    """What the adapter calls, with the checks of gsplat 1.5; remembers the numbers of channels it was given."""

    def __init__(self):
        self.channels = []

    def fully_fused_projection(
        self, means, covars, quats, scales, viewmats, Ks, width, height, eps2d=0.3, near_plane=0.01, opacities=None
    ):
        assert covars is None
        batch, count, views = means.shape[:-2], means.shape[-2], viewmats.shape[-3]
        assert quats.shape == (*batch, count, 4)
        assert scales.shape == (*batch, count, 3)
        assert opacities.shape == (*batch, count)
        assert viewmats.shape == (*batch, views, 4, 4)
        assert Ks.shape == (*batch, views, 3, 3)
        gaussians = Gaussians(means, quats, scales, opacities, means)
        drawn = project_gaussians(gaussians, Camera(viewmats, Ks, width, height), RenderOptions(near_plane, eps2d))
        assert all(value.isfinite().all() for value in (means, quats, scales, opacities))
        return drawn.radii.ceil().int(), drawn.means2d, drawn.depth, drawn.conics, None

    def isect_tiles(self, means2d, radii, depths, tile_size, tile_width, tile_height):
        assert means2d.shape == (*depths.shape, 2)
        assert radii.shape == means2d.shape
        self.order = torch.where(radii[..., 0] > 0, depths, torch.inf).argsort(dim=-1, stable=True)
        self.counts = (radii[..., 0] > 0).sum(-1)
        return None, torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int32)

    def isect_offset_encode(self, isect_ids, n_images, tile_width, tile_height):
        return torch.zeros(n_images, tile_height, tile_width, dtype=torch.int32)

    def rasterize_to_pixels(
        self, means2d, conics, colors, opacities, width, height, tile_size, offsets, flatten_ids, backgrounds=None
    ):
        images, count, channels = colors.shape[:-2], *colors.shape[-2:]
        self.channels.append(channels)
        assert means2d.shape == (*images, count, 2)
        assert conics.shape == (*images, count, 3)
        assert opacities.shape == (*images, count)
        assert backgrounds.shape == (*images, channels)
        assert offsets.shape == (*images, -(-height // tile_size), -(-width // tile_size))
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        pixels = torch.stack([x, y], dim=-1).reshape(-1, 2)
        canvas = torch.stack([self.draw(i, pixels, means2d, conics, colors, opacities) for i in self.indices(images)])
        canvas = canvas.reshape(*images, height, width, channels + 1)
        color, alpha = canvas[..., :-1], canvas[..., -1:]
        return color + (1 - alpha) * backgrounds[..., None, None, :], alpha

    @staticmethod
    def indices(images):
        return [tuple(index) for index in torch.ones(images).nonzero().tolist()]

    def draw(self, index, pixels, means2d, conics, colors, opacities):
        near = self.order[index][: self.counts[index]]
        payload = torch.cat([colors[index], torch.ones_like(colors[index][:, :1])], dim=-1)
        parts = (value[near] for value in (means2d[index], conics[index], opacities[index], payload))
        return blend(pixels, *parts, OPTIONS)


@pytest.fixture
def gsplat(monkeypatch):
    """The adapter, with the stand-in for gsplat and allowed on the CPU."""
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "gsplat", stand_in)
    monkeypatch.setattr(dispatch, "_choose_backend", lambda gaussians, name: name)
    return stand_in


@pytest.mark.parametrize(("channels", "chunks"), [(3, [4]), (32, [33]), (40, [32, 9]), (64, [32, 33])])
def test_the_adapter_agrees_with_the_reference(gsplat, channels, chunks):
    gaussians, camera = make_gaussians(60, channels, leading=(2,)), make_camera(37, 21, center=(17.0, 12.0))
    camera = Camera(camera.w2c.expand(2, 3, 4, 4), camera.K.expand(2, 3, 3, 3), 37, 21)
    background = torch.linspace(0, 1, channels)
    found, expected = (
        render_with_gradients(lambda g, b=backend: render_gaussians(g, camera, background, b, OPTIONS), gaussians)
        for backend in ("gsplat", "torch")
    )
    assert gsplat.channels == chunks
    for name in ("features", "alpha", "depth", "means2d"):
        torch.testing.assert_close(getattr(found[0], name), getattr(expected[0], name), rtol=1e-5, atol=2e-5)
    assert found[0].features.is_contiguous()
    for name in INPUTS:
        assert relative_error(found[1][name], expected[1][name]) < 1e-4, name


def test_broken_gaussians_never_reach_it(gsplat):
    gaussians = make_gaussians(10, 2)
    gaussians.means[0] = torch.nan
    gaussians.quats[1] = 0
    gaussians.scales[2] = torch.inf
    gaussians.opacities[3] = torch.nan
    _, gradients = render_with_gradients(
        lambda g: render_gaussians(g, make_camera(16, 16), None, "gsplat", OPTIONS), gaussians
    )
    for name in INPUTS:
        assert (gradients[name][:4] == 0).all(), name


def test_without_gaussians_the_background_shows(gsplat):
    drawn = render_gaussians(make_gaussians(0, 2), make_camera(16, 16), torch.ones(2), "gsplat", OPTIONS)
    assert (drawn.features == 1).all()
    assert gsplat.channels == []


def test_a_cap_it_cannot_have_is_mentioned_once(gsplat, caplog):
    from gha.rendering.gsplat_backend import _mention_cap

    _mention_cap.cache_clear()
    with caplog.at_level("INFO", "gha.rendering.gsplat_backend"):
        for _ in range(2):
            render_gaussians(make_gaussians(3, 2), make_camera(16, 16), None, "gsplat", RenderOptions(alpha_cap=0.99))
    assert [record.getMessage() for record in caplog.records] == [
        "gsplat caps alpha at 0.999, not at 0.99: pixels of opaque Gaussians differ a little"
    ]


@pytest.mark.parametrize(("usable", "expected"), [(True, "triton"), (False, "gsplat")])
def test_triton_comes_before_gsplat(monkeypatch, usable, expected):
    dispatch._automatic_backend.cache_clear()
    monkeypatch.setattr(dispatch, "_triton_is_usable", lambda: usable)
    monkeypatch.setattr(dispatch, "_gsplat_is_usable", lambda: True)
    assert dispatch._automatic_backend("cuda", torch.float32) == expected
    dispatch._automatic_backend.cache_clear()


def test_cuda_without_triton_and_gsplat_is_drawn_by_the_reference(monkeypatch):
    dispatch._automatic_backend.cache_clear()
    monkeypatch.setattr(dispatch.importlib.util, "find_spec", lambda name: None)
    assert dispatch._automatic_backend("cuda", torch.float32) == "torch"
    dispatch._automatic_backend.cache_clear()


@pytest.mark.parametrize(("compiled", "expected"), [(object(), "gsplat"), (None, "torch")])
def test_gsplat_is_chosen_where_its_kernels_are(monkeypatch, compiled, expected):
    from gha.rendering import gsplat_backend

    dispatch._automatic_backend.cache_clear()
    gsplat_backend.is_usable.cache_clear()
    monkeypatch.setattr(dispatch, "_triton_is_usable", lambda: False)
    monkeypatch.setattr(dispatch.importlib.util, "find_spec", lambda name: name)
    for name in ("gsplat", "gsplat.cuda"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(__path__=[]))
    monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", SimpleNamespace(_C=compiled))
    assert dispatch._automatic_backend("cuda", torch.float32) == expected
    dispatch._automatic_backend.cache_clear()
    gsplat_backend.is_usable.cache_clear()
