"""A page to look at: truth, render, error and statue of a few measured views."""

from __future__ import annotations

import numpy as np

from gha.training.evaluation import ViewResult

from .previews import error_heat, make_row, write_captions

FULL_ERROR = 0.25
CELL_HEIGHT = 320
CAPTION_HEIGHT = 14


def contact_row(split: str, result: ViewResult, height: int = CELL_HEIGHT) -> np.ndarray:
    """One measured view as uint8 [H, W, 3]: truth, render, error and, where there is one, the statue."""
    heat = error_heat(result.prediction, result.truth, FULL_ERROR)
    pictures = [result.truth, result.prediction, heat]
    titles = ["truth", "render", f"error, white = {FULL_ERROR:g}"]
    if result.frozen is not None:
        pictures.append(result.frozen)
        titles.append("expression frozen")
    row = make_row(pictures, height)
    cell = row.shape[1] // len(pictures)
    captions = [(i * cell + 2, 2, title) for i, title in enumerate(titles)]
    captions.append((2, row.shape[0] - CAPTION_HEIGHT, _describe(split, result)))
    return write_captions(row, captions)


def _describe(split: str, result: ViewResult) -> str:
    region = next(name for name in ("head", "foreground", "whole") if f"{name}_psnr" in result.measures)
    view = result.view
    return f"{split}: {view.frame_id} / {view.camera_id}: {region} {result.measures[f'{region}_psnr']:.1f} dB"
