"""Materials of the ICT head: photographed skin and eye where the files exist, plain colours where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from .face_model import Material
from .hair import hair_texture

SKIN_SIZE = 2048
EYE_IRIS_DEGREES, EYE_IRIS_RADIUS = 29.0, 0.19
HAIR_COLOURS = np.array([[0.27, 0.18, 0.12], [0.11, 0.095, 0.09], [0.45, 0.32, 0.20], [0.42, 0.22, 0.12]])


def ict_materials(textures: Path, scalp: dict[str, np.ndarray], seed: int) -> dict[str, Material]:
    """Materials by the names that the parts use.

    Args:
        textures: folder with ``skin_face.png``, ``skin_backhead.png`` and ``eye.png``; missing files get plain colours.
        scalp: of ``"face"`` and ``"back"``, where hair shades the skin, [S, S] in [0, 1].
        seed: varies tone of the skin, hair and shirt; 0 keeps the photographed colours.
    """
    rng = np.random.default_rng(seed)
    tone = np.ones(3) if seed == 0 else np.exp(rng.normal(size=3) * 0.04 + rng.normal() * 0.12)
    hair_colour = HAIR_COLOURS[seed % len(HAIR_COLOURS)]
    shirt_colour = (0.30, 0.34, 0.40) if seed == 0 else rng.uniform(0.12, 0.55, 3)
    return {
        "face": _skin(_texture(textures, "skin_face.png", (198, 150, 130)), tone, scalp["face"], hair_colour, seed),
        "back": _skin(
            _texture(textures, "skin_backhead.png", (198, 150, 130)), tone, scalp["back"], hair_colour, seed + 1
        ),
        "eye": Material("eye", _texture(textures, "eye.png", (232, 228, 224)), specular=0.55, gloss=260.0),
        "teeth": Material("teeth", _mottled((226, 216, 204), 0.02, 64, seed), specular=0.25, gloss=60.0),
        "gums": Material("gums", _mottled((150, 72, 70), 0.06, 128, seed), specular=0.20, gloss=40.0),
        "lashes": Material("lashes", np.full((8, 8, 3), 14, np.uint8), specular=0.0, two_sided=True),
        "hair": Material("hair", hair_texture(hair_colour, seed), specular=0.035, gloss=12.0, two_sided=True),
        "brows": Material("brows", hair_texture(hair_colour, seed), specular=0.01, gloss=14.0, two_sided=True),
        "cloth": _cloth(np.array(shirt_colour), seed),
    }


def _texture(folder: Path, name: str, fallback: tuple[int, int, int]) -> np.ndarray:
    if not (folder / name).is_file():
        return np.full((64, 64, 3), fallback, dtype=np.uint8)
    with Image.open(folder / name) as image:
        return np.asarray(image.convert("RGB"))


def photographed_darkness(textures: Path, uvs: np.ndarray) -> np.ndarray | None:
    """How much darker than its surroundings the photographed face is at texture coordinates [N, 2]; None: no photo."""
    if not (textures / "skin_face.png").is_file():
        return None
    gray = _texture(textures, "skin_face.png", (0, 0, 0)).astype(np.float32).mean(-1)
    darkness = gaussian_filter(gray, 40) - gaussian_filter(gray, 3)
    column = np.clip(uvs[:, 0] * gray.shape[1], 0, gray.shape[1] - 1).astype(int)
    row = np.clip((1 - uvs[:, 1]) * gray.shape[0], 0, gray.shape[0] - 1).astype(int)
    return darkness[row, column]


def _noise(size: int, sigma: float | tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Smooth noise [size, size] of unit variance; two numbers smooth rows and columns differently."""
    tile = min(size, 512)  # finer than anyone notices that it repeats
    noise = gaussian_filter(rng.standard_normal((tile, tile), dtype=np.float32), sigma, mode="wrap")
    return np.tile(noise / noise.std(), (size // tile, size // tile))


def _skin(photograph: np.ndarray, tone: np.ndarray, scalp: np.ndarray, hair: np.ndarray, seed: int) -> Material:
    """The photograph enlarged, with pores: relief and a little colour finer than it resolves."""
    rng = np.random.default_rng(1000 + seed)
    gray = photograph.astype(np.float32).mean(-1)
    # What is darker than its surroundings in the photograph (stubble, creases) lies deeper.
    relief = np.clip((gray - gaussian_filter(gray, 3)) / 25, -1, 1)
    relief = np.asarray(Image.fromarray(relief).resize((SKIN_SIZE, SKIN_SIZE), Image.Resampling.BICUBIC))
    large = Image.fromarray(photograph).resize((SKIN_SIZE, SKIN_SIZE), Image.Resampling.BICUBIC)
    colour = np.asarray(large, dtype=np.float32)
    pores = np.minimum(_noise(SKIN_SIZE, 2.0, rng) + 0.4, 0.0)
    grain = _noise(SKIN_SIZE, 1.2, rng)
    height = 0.5 + 0.16 * pores + 0.05 * _noise(SKIN_SIZE, 5.0, rng) + 0.10 * relief
    shaded = colour * tone * (1 + 0.018 * grain + 0.03 * pores)[..., None]
    covered = np.asarray(Image.fromarray(scalp).resize((SKIN_SIZE, SKIN_SIZE), Image.Resampling.BILINEAR))[..., None]
    shaded = shaded * (1 - 0.75 * covered) + hair * 200 * 0.75 * covered
    return Material(
        "skin",
        np.clip(np.rint(shaded), 0, 255).astype(np.uint8),
        specular=0.09,
        gloss=18.0,
        bump=np.clip(np.rint(height * 255), 0, 255).astype(np.uint8),
        bump_depth=0.0035,
    )


def paint_on_texture(corner_uvs: np.ndarray, corner_values: np.ndarray, size: int = 256) -> np.ndarray:
    """Values at triangle corners [T, 3] spread over a texture [size, size] with corner coordinates [T, 3, 2]."""
    steps = np.stack(np.meshgrid(np.arange(9), np.arange(9)), -1).reshape(-1, 2)
    steps = steps[steps.sum(1) <= 8] / 8
    weights = np.concatenate([1 - steps.sum(1, keepdims=True), steps], axis=1)
    uvs = np.einsum("pk,tkc->tpc", weights, corner_uvs).reshape(-1, 2)
    values = np.einsum("pk,tk->tp", weights, corner_values).ravel()
    column = np.clip((uvs[:, 0] * size).astype(int), 0, size - 1)
    row = np.clip(((1 - uvs[:, 1]) * size).astype(int), 0, size - 1)
    total = np.bincount(row * size + column, values, size * size).reshape(size, size)
    count = np.bincount(row * size + column, minlength=size * size).reshape(size, size).astype(np.float64)
    return (gaussian_filter(total, 1.5) / np.maximum(gaussian_filter(count, 1.5), 1e-6)).astype(np.float32)


def _mottled(colour: tuple[int, int, int], strength: float, size: int, seed: int) -> np.ndarray:
    noise = _noise(size, size / 16, np.random.default_rng(2000 + seed))
    return np.clip(np.array(colour) * (1 + strength * noise)[..., None], 0, 255).astype(np.uint8)


def _cloth(colour: np.ndarray, seed: int) -> Material:
    """Knitted cotton: ribs on the collar (the top of the texture), a fine weave below."""
    rng = np.random.default_rng(3000 + seed)
    size = 1024
    column, row = np.meshgrid(np.arange(size), np.arange(size))
    ribs = 0.5 + 0.5 * np.sin(2 * np.pi * column * 150 / size)
    weave = 0.5 + 0.25 * (np.sin(2 * np.pi * column * 256 / size) + np.sin(2 * np.pi * row * 200 / size))
    height = np.where(row < 0.10 * size, ribs, 0.18 * weave) + 0.25 * _noise(size, (24, 6), rng).clip(-1, 1)
    shade = 1 + 0.05 * _noise(size, (1.6, 0.5), rng) + 0.05 * _noise(size, (16, 4), rng)
    texture = np.clip(colour * shade[..., None], 0, 1) * 255
    bump = np.clip((height + 0.25) / 1.5, 0, 1) * 255
    return Material(
        "cloth",
        texture.astype(np.uint8),
        specular=0.01,
        gloss=8.0,
        two_sided=True,
        bump=bump.astype(np.uint8),
        bump_depth=0.02,
    )
