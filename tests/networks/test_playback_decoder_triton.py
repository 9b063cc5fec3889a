"""The kernels of playback's decoder: on a CPU by Triton's interpreter, and as they are on a GPU."""

import pytest
import torch
from interpreted import run_interpreted
from test_playback_decoder import CONFIGS, splats, trained_looking

from gha.networks.playback_decoder import PlaybackDecoder

pytest.importorskip("triton", reason="Triton is not installed")

SCRIPT = """
import torch
from test_playback_decoder import CONFIGS, splats, trained_looking
from gha.networks.playback_decoder import PlaybackDecoder

background = torch.tensor([0.2, 0.5, 0.9])
with torch.no_grad():
    for name, config in CONFIGS.items():
        decoder = trained_looking(config)
        inputs = splats(3, 5, 2)
        played = PlaybackDecoder(decoder, torch.float32, fused=True)
        assert (played.finish is None) == (name == "bilinear without residual")
        rgb, alpha = decoder(*inputs)
        for expected, found in zip((rgb, alpha), played(*inputs), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        if name in ("original", "light"):
            torch.compiler.reset()
            followed = torch.compile(played, backend="aot_eager", fullgraph=True)
            expected = rgb + (1 - alpha) * background[:, None, None]
            torch.testing.assert_close(followed(*inputs, background)[0], expected, atol=1e-5, rtol=1e-5)
print("agrees")
"""


def test_kernels_agree_with_the_reference():
    run = run_interpreted("-c", SCRIPT)
    assert "agrees" in run.stdout, run.stderr


@pytest.mark.cuda
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-3), (torch.bfloat16, 0.02)]
)  # TF32 in convolutions
@torch.no_grad()
def test_decoders_on_a_gpu(name, dtype, tolerance):
    torch.compiler.reset()  # PyTorch gives up on functions that it has compiled for too many decoders
    decoder = trained_looking(CONFIGS[name]).to("cuda")
    inputs = [x.to("cuda") for x in splats(70, 130)]
    background = torch.tensor([0.2, 0.5, 0.9], device="cuda")
    played = PlaybackDecoder(decoder, dtype)
    assert (played.finish is None) == (name == "bilinear without residual")
    rgb, alpha = decoder(*inputs)
    expected = rgb + (1 - alpha) * background[:, None, None], alpha
    for draw in (played, torch.compile(played, fullgraph=True)):
        for found, wanted in zip(draw(*inputs, background), expected, strict=True):
            # Without a residual these weights give a picture that hardly varies, which is no measure for rounding.
            assert (found - wanted).square().mean().sqrt() / wanted.std().clamp_min(0.05) < tolerance
