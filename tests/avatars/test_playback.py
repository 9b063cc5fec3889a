"""The form of an avatar for playback shows what the trained avatar shows."""

import logging
from dataclasses import fields, replace
from functools import partial

import pytest
import torch
from tiny_heads import EXPRESSIONS, gaussian_config, mesh_config

from gha.avatars import FramePlayer, PlaybackOptions, prepare_for_playback, render_avatar
from gha.avatars.acceleration import Compiled, Replayed
from gha.avatars.gaussian_head import GaussianHead, GaussianSeeds
from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.networks import ORIGINAL_DECODER, DecoderConfig
from gha.rendering import Gaussians

HEADS = {
    "default": ({}, {}),
    "original": (
        {"body": False, "color_activation": "original", "bounded_deformation": False},
        {"latents": False, "scale_with_head": False, "decoder": replace(ORIGINAL_DECODER, capacity=2)},
    ),
    "bilinear": ({}, {"decoder": DecoderConfig(capacity=2, upsampling="bilinear")}),
    "pose in expression": (
        {"pose_in_expression_networks": True, "blend_metric": "distance", "blend_near": 0.3, "blend_far": 0.5},
        {"decoder": DecoderConfig(capacity=2, upsampling="light")},
    ),
}


def trained_looking(name, count=400):
    """A head whose every parameter matters, half of it near the landmarks, its neck in its middle."""
    torch.manual_seed(0)
    of_fields, of_head = HEADS[name]
    config = replace(mesh_config().fields, **of_fields)
    seeds = GaussianSeeds(
        0.4 * torch.randn(count, 3), torch.randn(count, 6), torch.full((count,), 0.05), torch.zeros(70, 3)
    )
    seeds.landmarks[:, 0] = torch.linspace(-0.4, 0.4, 70)
    head = GaussianHead(gaussian_config(**of_head), config, EXPRESSIONS, seeds)
    with torch.no_grad():
        for network in (head.fields.expression_deform, head.fields.pose_deform):
            network.last_layer.weight.normal_()
        head.quats.normal_()
        head.log_scales.add_(0.3 * torch.randn(count, 3))
        head.opacity_logits.normal_()
        head.decoder.output.weight.normal_(std=0.1)
        if head.fields.neck is not None:
            head.fields.neck.body_pose.normal_(std=0.3)
            head.fields.neck.height.fill_(-0.2)
    return head.eval()


def view(size=32, distance=3.0):
    return Camera.look_at(torch.tensor([[0.0, 0.0, distance]]), torch.zeros(1, 3), 1.5 * size, size, size)


def in_order_of(played, head, gaussians):
    """Gaussians of the trained head in the order of its playback."""
    order, _, _ = head.fields.divide(head.means, head.neutral_landmarks, 0.0)
    tensors = {f.name: getattr(gaussians, f.name) for f in fields(gaussians)}
    return Gaussians(**{name: x[:, order] for name, x in tensors.items() if isinstance(x, torch.Tensor)})


@pytest.fixture
def codes():
    generator = torch.Generator().manual_seed(4)
    return HeadCode(
        expression=torch.rand(2, EXPRESSIONS, generator=generator),
        pose=0.3 * torch.randn(2, 6, generator=generator),
        scale=torch.tensor([[0.9], [1.2]]),
    )


@pytest.mark.parametrize("name", HEADS)
@torch.no_grad()
def test_playback_poses_as_trained(name, codes):
    head = trained_looking(name)
    played = prepare_for_playback(head, PlaybackOptions())
    division = played.division
    assert min(division.near, division.mixed, division.far) > 20
    expected, found = in_order_of(played, head, head(codes).gaussians), played(codes).gaussians
    for attribute in ("means", "quats", "scales", "opacities", "features"):
        torch.testing.assert_close(getattr(found, attribute), getattr(expected, attribute), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_pictures_of_playback_are_those_of_the_avatar(name, codes):
    head = trained_looking(name)
    played = prepare_for_playback(head, PlaybackOptions())
    player, background = FramePlayer(played, 32, 32), torch.tensor([0.2, 0.4, 0.6])
    for code in (codes[0], codes[1]):
        expected = render_avatar(head, code, view(), background)
        assert expected.coarse_alpha.max() > 0.5
        for found in (player(code, view(), background), render_avatar(played, code, view(), background)):
            for part in ("rgb", "alpha", "coarse_rgb", "coarse_alpha"):
                torch.testing.assert_close(getattr(found, part), getattr(expected, part), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("precision", "least"), [("float16", 55), ("bfloat16", 40)])
def test_half_precision_is_near(precision, least, codes):
    head = trained_looking("default")
    played = prepare_for_playback(head, PlaybackOptions(networks=precision, decoder=precision))
    pictures = [render_avatar(x, codes[0], view(), torch.ones(3)).rgb.clamp(0, 1) for x in (head, played)]
    assert least < -10 * (pictures[0] - pictures[1]).square().mean().log10() < 120


def test_playback_does_not_follow_the_avatar(codes):
    head = trained_looking("default")
    played = prepare_for_playback(head)
    before = played(codes).gaussians.means
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
    assert torch.equal(played(codes).gaussians.means, before)
    assert not before.requires_grad


def test_a_camera_of_another_size_is_refused(codes):
    player = FramePlayer(prepare_for_playback(trained_looking("default")), 32, 32)
    with pytest.raises(ValueError, match="found a camera of 36x36, expected 32x32 pixels"):
        player(codes[0], view(36), torch.ones(3))
    with pytest.raises(ValueError, match="30x32 is no multiple"):
        FramePlayer(prepare_for_playback(trained_looking("default")), 30, 32)


def test_fast_options_keep_float32_on_a_cpu():
    assert PlaybackOptions.fast("cpu") == PlaybackOptions("float32", "float32")
    assert PlaybackOptions.fast("cuda:1").networks == "float16"


@pytest.mark.parametrize("name", ["default", "original"])
def test_a_compiler_can_follow_all_of_it(name, codes, monkeypatch):
    """One graph without a break, from code to Gaussians and from splats to picture."""
    graphs = []

    def collect(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, mode, **kw: compile(f, backend=collect, **kw))
    torch.compiler.reset()
    head = trained_looking(name)
    player = FramePlayer(prepare_for_playback(head, PlaybackOptions(compile="default")), 32, 32)
    found = player(codes[0], view(), torch.ones(3))
    assert len(graphs) == 2
    expected = render_avatar(head, codes[0], view(), torch.ones(3))
    torch.testing.assert_close(found.rgb, expected.rgb, atol=1e-5, rtol=0)


def test_what_cannot_be_compiled_runs_as_it_is(monkeypatch, caplog):
    def failing(*inputs):
        raise RuntimeError("no C compiler\nand more")

    monkeypatch.setattr(torch, "compile", lambda function, **options: failing)
    compiled = Compiled(lambda x: (2 * x,), "default")
    with caplog.at_level(logging.WARNING, logger="gha"):
        for _ in range(2):
            assert compiled(torch.ones(1))[0].item() == 2
    assert [record.getMessage() for record in caplog.records] == ["not compiled, which is slower: no C compiler"]


def test_errors_of_the_function_itself_are_not_hidden():
    def wrong(x):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        Compiled(wrong, "off")(torch.ones(1))


@pytest.mark.cuda
def test_replayed_functions_return_memory_of_their_own():
    replayed = Replayed(lambda x, y: (x + y, x * y), record=True)
    inputs = [[torch.randn(n, device="cuda") for _ in range(2)] for n in (5, 5, 7)]
    outputs = [replayed(*pair) for pair in inputs]
    for (x, y), (total, product) in zip(inputs, outputs, strict=True):
        assert torch.equal(total, x + y)
        assert torch.equal(product, x * y)


@pytest.mark.cuda
@pytest.mark.parametrize(("name", "compile_mode"), [*((name, "off") for name in HEADS), ("default", "default")])
def test_playback_on_a_gpu_shows_what_was_trained(name, compile_mode, codes):
    head = trained_looking(name).to("cuda")
    precise = prepare_for_playback(head, PlaybackOptions(compile=compile_mode))
    fast = prepare_for_playback(head, PlaybackOptions.fast("cuda", compile_mode))
    players = {3e-3: FramePlayer(precise, 32, 32), 0.1: FramePlayer(fast, 32, 32)}  # convolutions may use TF32
    background = torch.ones(3, device="cuda")
    for code in (codes[0].to("cuda"), codes[1].to("cuda"), codes[0].to("cuda")):
        draw = partial(render_avatar, code=code, camera=view().to("cuda"), background=background)
        expected = draw(head).rgb
        for tolerance, player in players.items():
            found = player(code, view().to("cuda"), background).rgb
            torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
        torch.testing.assert_close(draw(fast).rgb, expected, atol=0.1, rtol=0)
