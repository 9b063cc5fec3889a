import pytest
import torch

from gha.networks import ORIGINAL_DECODER, DecoderConfig, build_decoder
from gha.networks.playback_decoder import PlaybackDecoder

CONFIGS = {
    "bilinear": DecoderConfig(capacity=4, upsampling="bilinear"),
    "bilinear without residual": DecoderConfig(capacity=4, upsampling="bilinear", residual=False),
    "normalised": DecoderConfig(capacity=4, upsampling="bilinear", normalization="instance"),
    "aligned": DecoderConfig(capacity=4, upsampling="bilinear", align_corners=True),
    "original": ORIGINAL_DECODER,
    "pixel shuffle": DecoderConfig(capacity=4, upsampling="pixel_shuffle"),
    "light": DecoderConfig(capacity=4, upsampling="light"),
}


def trained_looking(config):
    """A decoder whose every weight and bias matters."""
    torch.manual_seed(1)
    decoder = build_decoder(5, config)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
        decoder.output.weight.normal_(std=0.2)
    return decoder


def splats(height=9, width=12, batch=2):
    """Features and alpha that reach the border, where upsampling and padding meet."""
    generator = torch.Generator().manual_seed(2)
    alpha = torch.rand(batch, 1, height, width, generator=generator)
    return torch.rand(batch, 5, height, width, generator=generator) * alpha, alpha


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("size", [(9, 12), (2, 3)])
@torch.no_grad()
def test_playback_decodes_as_trained(name, size):
    decoder = trained_looking(CONFIGS[name])
    played = PlaybackDecoder(decoder, torch.float32)
    for expected, found in zip(decoder(*splats(*size)), played(*splats(*size)), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.02), (torch.float16, 0.003)])
@pytest.mark.parametrize("name", ["bilinear", "original", "light"])
@torch.no_grad()
def test_half_precision_rounds_but_little(name, dtype, tolerance):
    decoder = trained_looking(CONFIGS[name])
    expected, _ = decoder(*splats())
    found, _ = PlaybackDecoder(decoder, dtype)(*splats())
    error = (found - expected).square().mean().sqrt() / expected.std()
    assert 0 < error < tolerance


def test_playback_keeps_what_it_was_made_of():
    decoder = trained_looking(CONFIGS["light"])
    played = PlaybackDecoder(decoder, torch.float32)
    with torch.no_grad():
        before = played(*splats())[0]
        decoder.output.weight.zero_()
    assert torch.equal(played(*splats())[0], before)
    assert all(parameter.requires_grad for parameter in decoder.parameters())
    assert not any(parameter.requires_grad for parameter in played.parameters())
