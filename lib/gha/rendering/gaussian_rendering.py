"""Drawing Gaussians: one contract, several back ends."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache

import torch
from torch import Tensor

from gha.errors import InputError
from gha.geometry import Camera

from .gaussians import Gaussians
from .options import RenderOptions

logger = logging.getLogger(__name__)

BACKENDS = ("torch", "numba", "triton", "gsplat")
_WAITING = ("torch", "gsplat")
"""Back ends that read back from a GPU how much there is to draw."""


@dataclass(frozen=True)
class Rendering:
    """Images of Gaussians; V is there when the camera has it.

    Attributes:
        features: composited over the background [..., (V,) C, H, W].
        alpha: opacity in [0, 1] [..., (V,) 1, H, W].
        depth: expected z-depth in world units, 0 where alpha is 0 [..., (V,) 1, H, W].
        radii: half width and height in pixels of each Gaussian's footprint, 0 if not drawn [..., (V,) N, 2].
        means2d: projected centres in pixels [..., (V,) N, 2]; meaningless where ``radii`` is 0.
        normals: not filled for ellipsoids.
        distortion: not filled for ellipsoids.
    """

    features: Tensor
    alpha: Tensor
    depth: Tensor
    radii: Tensor | None = None
    means2d: Tensor | None = None
    normals: Tensor | None = None
    distortion: Tensor | None = None


def render_gaussians(
    gaussians: Gaussians,
    camera: Camera,
    background: Tensor | None = None,
    backend: str = "auto",
    options: RenderOptions | None = None,
) -> Rendering:
    """Splat Gaussians into images, differentiably.

    Every back end draws the same: each Gaussian is projected to a 2D Gaussian (EWA), widened by ``options.low_pass``,
    and blended front to back in order of z-depth (ties by index). It reaches as far as its alpha is >= 1/255; its
    alpha is capped by ``options.alpha_cap``; the Gaussian that would take the transmittance of a pixel below 1e-4 is
    not drawn, nor anything behind it. Gradients reach means, quats, scales, opacities, features and ``background``
    (and, except with gsplat's intrinsics, the camera). A Gaussian with non-finite geometry is not drawn and gets no
    gradient; non-finite features show in the image.

    Args:
        gaussians: one set [N, ...] or a batch of sets [..., N, ...].
        camera: leading dimensions of the Gaussians plus V, or exactly those of the Gaussians. Without skew.
        background: [C], drawn behind everything; None means zeros.
        backend: ``"torch"``, ``"numba"``, ``"triton"``, ``"gsplat"``, or ``"auto"``: the fastest that is here for the
            device.
        options: see :class:`RenderOptions`.
    """
    if gaussians.primitive != "ellipsoid":
        raise InputError(f"render_gaussians draws primitive 'ellipsoid', found '{gaussians.primitive}'")
    _check_devices(gaussians, camera, background)
    gaussians, camera, background = _common_precision(gaussians, camera, background)
    has_views = _has_views(gaussians, camera)
    _check_background(background, gaussians)
    batch = gaussians.means.shape[:-2]
    rasterize = _load_backend(_choose_backend(gaussians, backend))
    rendering = rasterize(
        _flatten_sets(gaussians, len(batch)),
        _flatten_cameras(camera, len(batch), has_views),
        background,
        options or RenderOptions(),
    )
    return _restore_dimensions(_normalize_depth(rendering), (*batch, -1) if has_views else batch)


def _check_devices(gaussians: Gaussians, camera: Camera, background: Tensor | None) -> None:
    """Everything must live where the Gaussians do."""
    device = gaussians.means.device
    others = {"camera.w2c": camera.w2c, "camera.K": camera.K, "background": background}
    for name, value in others.items():
        if value is not None and value.device != device:
            raise InputError(f"{name} is on {value.device}, expected the device of the Gaussians, {device}")


def _common_precision(
    gaussians: Gaussians, camera: Camera, background: Tensor | None
) -> tuple[Gaussians, Camera, Tensor | None]:
    """Everything in float64 when the means are, else in float32 (half precision cannot hold pixel positions)."""
    dtype = torch.float64 if gaussians.means.dtype == torch.float64 else torch.float32
    return gaussians.to(dtype=dtype), camera.to(dtype=dtype), None if background is None else background.to(dtype)


def _has_views(gaussians: Gaussians, camera: Camera) -> bool:
    """Whether the camera has a V dimension after those of the Gaussians."""
    batch, cameras = gaussians.means.shape[:-2], camera.batch_shape
    if cameras != batch and cameras[:-1] != batch:
        raise InputError(
            f"camera has leading dimensions {list(cameras)}, expected those of the Gaussians, {list(batch)}, "
            f"or {[*batch, 'V']}"
        )
    return len(cameras) > len(batch)


def _check_background(background: Tensor | None, gaussians: Gaussians) -> None:
    channels = gaussians.features.shape[-1]
    if background is not None and background.shape != (channels,):
        raise InputError(f"background has shape {list(background.shape)}, expected one value per channel, [{channels}]")


def _flatten_sets(gaussians: Gaussians, dims: int) -> Gaussians:
    """Leading dimensions merged into one, [B, N, ...]."""

    def merge(value: Tensor) -> Tensor:
        return value[None] if dims == 0 else value.flatten(0, dims - 1)

    tensors = {f.name: getattr(gaussians, f.name) for f in fields(gaussians)}
    return replace(gaussians, **{name: merge(value) for name, value in tensors.items() if isinstance(value, Tensor)})


def _flatten_cameras(camera: Camera, dims: int, has_views: bool) -> Camera:
    """Leading dimensions merged and V added where missing: w2c [B, V, 4, 4], K [B, V, 3, 3]."""

    def merge(value: Tensor) -> Tensor:
        value = value[None] if dims == 0 else value.flatten(0, dims - 1)
        return value if has_views else value[:, None]

    return replace(camera, w2c=merge(camera.w2c), K=merge(camera.K))


def _normalize_depth(rendering: Rendering) -> Rendering:
    """From the weighted sum of depths that a back end returns to the expected depth."""
    seen = rendering.alpha > 0
    alpha = torch.where(seen, rendering.alpha, torch.ones_like(rendering.alpha))
    return replace(rendering, depth=torch.where(seen, rendering.depth / alpha, torch.zeros_like(alpha)))


def _restore_dimensions(rendering: Rendering, leading: tuple[int, ...]) -> Rendering:
    """[B, V, ...] of the back ends back to the dimensions of the caller."""
    views = rendering.alpha.shape[1]
    leading = tuple(views if size == -1 else size for size in leading)
    tensors = {f.name: getattr(rendering, f.name) for f in fields(rendering)}
    return Rendering(
        **{name: value.reshape(*leading, *value.shape[2:]) for name, value in tensors.items() if value is not None}
    )


def never_waits(device: torch.device) -> bool:
    """Whether drawing float32 Gaussians on a CUDA device only launches kernels, so that a CUDA graph can record it."""
    return device.type == "cuda" and _automatic_backend("cuda", torch.float32) not in _WAITING


def missed_gaussians(device: torch.device) -> bool:
    """Wait for the device; whether pictures since the last call lack Gaussians, for want of room in their buffers.

    Ask where CUDA graphs of drawing are replayed. One that answers yes must be captured anew: a graph keeps the buffers
    it was captured with; from now on there is more room.
    """
    if not never_waits(device):
        return False
    from .triton_capacity import overflowed

    return overflowed()


Rasterize = Callable[[Gaussians, Camera, Tensor | None, RenderOptions], Rendering]


def _load_backend(name: str) -> Rasterize:
    """Import a back end when it is first used; each maps [B, N, ...] and [B, V, ...] to [B, V, ...]."""
    if name == "torch":
        from .torch_backend import rasterize
    elif name == "numba":
        from .numba_backend import rasterize
    elif name == "triton":
        from .triton_backend import rasterize
    else:
        from .gsplat_backend import rasterize
    return rasterize


def _choose_backend(gaussians: Gaussians, requested: str) -> str:
    """The name of the back end to use, checked against device and precision."""
    device, dtype = gaussians.means.device.type, gaussians.means.dtype
    if requested == "auto":
        return _automatic_backend(device, dtype)
    if requested not in BACKENDS:
        raise InputError(f"unknown Gaussian back end '{requested}', expected 'auto' or one of {list(BACKENDS)}")
    needed = {"numba": "cpu", "triton": "cuda", "gsplat": "cuda"}.get(requested, device)
    if device != needed:
        raise InputError(f"back end '{requested}' needs tensors on {needed}, found {device}")
    if requested != "torch" and dtype == torch.float64:
        raise InputError(f"back end '{requested}' computes in float32, found float64 means; use 'torch'")
    return requested


def _triton_is_usable() -> bool:
    """Imports (and at first use compiles) the Triton kernels only where Triton is installed."""
    if importlib.util.find_spec("triton") is None:
        return False
    from .triton_backend import is_usable

    return is_usable()


def _gsplat_is_usable() -> bool:
    """Imports (and at first use compiles) gsplat only where it is installed."""
    if importlib.util.find_spec("gsplat") is None:
        return False
    from .gsplat_backend import is_usable

    return is_usable()


@cache
def _automatic_backend(device: str, dtype: torch.dtype) -> str:
    """The fastest back end for a device; says once what it is."""
    if dtype == torch.float64:
        choice, reason = "torch", "the only one in float64"
    elif device == "cpu":
        choice, reason = "numba", "compiled for the CPU"
    elif device == "cuda" and _triton_is_usable():
        choice, reason = "triton", "comes with torch"
    elif device == "cuda" and _gsplat_is_usable():
        choice, reason = "gsplat", "Triton cannot be used here"
    else:
        choice, reason = "torch", "neither Triton nor gsplat can be used here; expect it to be slow"
    logger.info("Gaussians on %s are drawn by the %s back end (%s)", device, choice, reason)
    return choice
