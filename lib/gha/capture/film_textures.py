"""Textures of a surface, packed for the film kernels: linear light, relief slopes and mip levels in one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gha.faces.face_model import Material

CHANNELS = 5  # red, green, blue in linear light, then the slopes of the relief along columns and rows
SLOPE_ZERO = 32768
SLOPE_RANGE = 32767


@dataclass(frozen=True)
class PackedTextures:
    """Mip pyramids of several materials in one buffer.

    Attributes:
        texels: uint16 [T, 5]: linear RGB, slope along columns, slope along rows (heights per base texel).
        levels: int64 [L, 3]: first texel, height, width of each mip level of each material.
        first_level: int64 [M + 1]: the levels of material m are ``first_level[m]:first_level[m + 1]``.
        sizes: float32 [M, 2]: width and height of each base texture.
    """

    texels: np.ndarray
    levels: np.ndarray
    first_level: np.ndarray
    sizes: np.ndarray


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """SRGB values in [0, 1] to linear light in [0, 1]."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(values: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] to sRGB values in [0, 1]."""
    clipped = np.clip(values, 0.0, 1.0)
    return np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055).astype(np.float32)


def encoding_table(size: int = 65536) -> np.ndarray:
    """uint8 [size]: the sRGB byte of linear light ``i / (size - 1)``."""
    return np.rint(linear_to_srgb(np.linspace(0, 1, size)) * 255).astype(np.uint8)


def pack_textures(materials: Sequence[Material]) -> PackedTextures:
    """Decode, build mip levels and concatenate the textures (and bump maps) of ``materials``."""
    pyramids = [_pyramid(_decode(material)) for material in materials]
    images = [image for pyramid in pyramids for image in pyramid]
    starts = np.cumsum([0] + [image.shape[0] * image.shape[1] for image in images])[:-1]
    levels = np.array([[s, i.shape[0], i.shape[1]] for s, i in zip(starts, images, strict=True)], dtype=np.int64)
    return PackedTextures(
        texels=np.concatenate([_encode(image).reshape(-1, CHANNELS) for image in images]),
        levels=levels,
        first_level=np.cumsum([0] + [len(pyramid) for pyramid in pyramids]).astype(np.int64),
        sizes=np.array([[m.texture.shape[1], m.texture.shape[0]] for m in materials], dtype=np.float32),
    )


def _decode(material: Material) -> np.ndarray:
    """Float32 [H, W, 5] of one material: linear colour and slopes."""
    height, width = material.texture.shape[:2]
    image = np.zeros((height, width, CHANNELS), dtype=np.float32)
    image[..., :3] = srgb_to_linear(np.arange(256) / 255)[material.texture]
    if material.bump is not None:
        if material.bump.shape != (height, width):
            raise ValueError(
                f"material {material.name!r}: bump map {material.bump.shape} must have "
                f"the size of its texture {(height, width)}"
            )
        relief = np.pad(material.bump.astype(np.float32) / 255, 1, mode="edge")
        image[..., 3] = (relief[1:-1, 2:] - relief[1:-1, :-2]) / 2
        image[..., 4] = (relief[2:, 1:-1] - relief[:-2, 1:-1]) / 2
    return image


def _pyramid(image: np.ndarray) -> list[np.ndarray]:
    """The image and its box-filtered halvings, down to a few texels."""
    levels = [image]
    while min(levels[-1].shape[:2]) >= 8:
        last = levels[-1]
        even = np.pad(last, ((0, last.shape[0] % 2), (0, last.shape[1] % 2), (0, 0)), mode="edge")
        levels.append((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4)
    return levels


def _encode(image: np.ndarray) -> np.ndarray:
    """Float [H, W, 5] to uint16."""
    colour = np.rint(np.clip(image[..., :3], 0, 1) * 65535)
    slopes = np.rint(np.clip(image[..., 3:], -1, 1) * SLOPE_RANGE) + SLOPE_ZERO
    return np.concatenate([colour, slopes], axis=-1).astype(np.uint16)
