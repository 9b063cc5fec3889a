"""Building blocks with weights: MLP with skip, positional encoding, super-resolution decoder."""

from .convolution import join_activations
from .decoder import ORIGINAL_DECODER, DecoderConfig, SuperResolutionDecoder, build_decoder
from .mlp import MLP, LayerSizes, initialize_near_zero
from .positional_encoding import encoded_size, positional_encoding

__all__ = [
    "MLP",
    "ORIGINAL_DECODER",
    "DecoderConfig",
    "LayerSizes",
    "SuperResolutionDecoder",
    "build_decoder",
    "encoded_size",
    "initialize_near_zero",
    "join_activations",
    "positional_encoding",
]
