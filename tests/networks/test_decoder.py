from dataclasses import replace

import pytest
import torch
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode

from gha.networks import ORIGINAL_DECODER, DecoderConfig, build_decoder

BILINEAR = DecoderConfig(capacity=4, upsampling="bilinear")
SHUFFLE = DecoderConfig(capacity=4, upsampling="pixel_shuffle")
LIGHT = DecoderConfig(capacity=4, upsampling="light")


def trained_looking(config):
    """A decoder with random instead of zero output weights, as after training."""
    torch.manual_seed(1)
    decoder = build_decoder(5, config)
    torch.nn.init.normal_(decoder.output.weight, std=0.3)
    return decoder.double()


def inputs(size=24):
    generator = torch.Generator().manual_seed(2)
    alpha = torch.rand(1, 1, size, size, generator=generator, dtype=torch.float64)
    return torch.rand(1, 5, size, size, generator=generator, dtype=torch.float64) * alpha, alpha


def test_original_has_the_released_number_of_parameters():
    decoder = build_decoder(32, ORIGINAL_DECODER)
    assert sum(p.numel() for p in decoder.parameters()) == 322_659


@pytest.mark.parametrize("config", [BILINEAR, SHUFFLE, LIGHT, ORIGINAL_DECODER])
def test_output_is_four_times_as_large(config):
    color, alpha = trained_looking(config)(*inputs(8))
    assert color.shape == (1, 3, 32, 32)
    assert alpha.shape == (1, 1, 32, 32)
    assert 0 <= alpha.min() <= alpha.max() <= 1


@pytest.mark.parametrize(
    "config", [BILINEAR, SHUFFLE, LIGHT, *(replace(config, residual=False) for config in (BILINEAR, SHUFFLE, LIGHT))]
)
def test_decoding_a_crop_is_cropping_the_decoded(config):
    decoder = trained_looking(config)
    features, alpha = inputs()
    whole = decoder(features, alpha)
    part = decoder(features[..., 4:20, 4:20], alpha[..., 4:20, 4:20])
    margin = 20  # pixels of the result that see the border of the crop
    for full, cropped in zip(whole, part, strict=True):
        expected = full[..., 16:80, 16:80][..., margin:-margin, margin:-margin]
        torch.testing.assert_close(cropped[..., margin:-margin, margin:-margin], expected, atol=1e-5, rtol=0)


def test_instance_norm_makes_a_pixel_depend_on_the_whole_frame():
    """Why the default has none (framing and background must not change the face)."""
    features, alpha = inputs()
    changed = features.clone()
    changed[..., -4:, -4:] += 1
    default, original = trained_looking(DecoderConfig(capacity=4)), trained_looking(ORIGINAL_DECODER)
    corner = (..., slice(0, 16), slice(0, 16))
    assert torch.equal(default(features, alpha)[0][corner], default(changed, alpha)[0][corner])
    assert (original(features, alpha)[0][corner] - original(changed, alpha)[0][corner]).abs().max() > 1e-4


@pytest.mark.parametrize("config", [BILINEAR, SHUFFLE, LIGHT])
def test_residual_decoder_starts_as_enlarged_coarse_picture(config):
    decoder = build_decoder(5, config).double()
    features, alpha = inputs(8)
    color, alpha_out = decoder(features, alpha)
    torch.testing.assert_close(color, interpolate(features[:, :3], scale_factor=4, mode="bicubic"))
    torch.testing.assert_close(alpha_out, interpolate(alpha, scale_factor=4, mode="bicubic").clamp(0, 1))


def test_original_is_exact_over_white():
    decoder = trained_looking(ORIGINAL_DECODER)
    features, alpha = inputs(8)
    color, alpha_out = decoder(features, alpha)
    white = color + (1 - alpha_out)
    assert 0 < white.min() < white.max() < 1, "the original paints colour over white through a sigmoid"


def test_unknown_normalization_is_refused():
    with pytest.raises(ValueError, match=r"'none' or 'instance', got 'batch'"):
        build_decoder(5, DecoderConfig(normalization="batch"))


def test_pixel_shuffle_with_normalization_is_refused():
    with pytest.raises(ValueError, match="takes no normalization, got 'instance'"):
        build_decoder(5, DecoderConfig(upsampling="pixel_shuffle", normalization="instance"))


def test_pixel_shuffle_tells_the_pixels_of_one_splat_pixel_apart():
    """What bilinear enlargement cannot: neighbours that differ although the features are the same everywhere."""
    features, alpha = (torch.full((1, channels, 12, 12), 0.5, dtype=torch.float64) for channels in (5, 1))
    blocks = {}
    for config in (BILINEAR, SHUFFLE):
        blocks[config.upsampling] = trained_looking(config)(features, alpha)[0][0, 0, 24:28, 24:28]
    assert blocks["bilinear"].std() < 1e-9
    assert blocks["pixel_shuffle"].std() > 1e-3


@pytest.mark.parametrize("upsampling", ["bilinear", "pixel_shuffle", "light"])
def test_what_passes_the_blocks_keeps_its_size_at_the_start(upsampling):
    torch.manual_seed(0)
    decoder = build_decoder(16, DecoderConfig(capacity=32, upsampling=upsampling))
    hidden = decoder.hidden(torch.randn(16, 17, 1, 1).expand(-1, -1, 16, 16))[..., 12:20, 12:20]
    assert 0.3 < hidden.square().mean().sqrt() < 3


def test_unknown_upsampling_is_refused():
    with pytest.raises(ValueError, match="must be bilinear, pixel_shuffle or light, got 'nearest'"):
        build_decoder(5, DecoderConfig(upsampling="nearest"))


def test_light_does_an_eighth_of_the_arithmetic():
    counts = {}
    for upsampling in ("bilinear", "light"):
        decoder = build_decoder(32, DecoderConfig(upsampling=upsampling))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            decoder(torch.rand(1, 32, 16, 16), torch.rand(1, 1, 16, 16))
        counts[upsampling] = counter.get_total_flops()
    assert counts["light"] < counts["bilinear"] / 8
