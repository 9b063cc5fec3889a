import torch

from gha.faces.code import HeadCode
from gha.training.optimizers import RowAdam
from gha.training.refinement import CameraGain, PoseRefinement


def codes(count):
    return HeadCode(torch.zeros(count, 2), torch.zeros(count, 6), torch.ones(count, 1))


def test_only_frames_of_the_batch_move():
    """Adam's momentum would go on moving every frame that was ever seen."""
    refinement = PoseRefinement(["a", "b", "c"])
    optimizer = RowAdam(refinement.parameters(), lr=0.1)
    for names in (["a"], ["b", "a"], ["b"]):
        before = refinement.delta.weight.detach().clone()
        optimizer.zero_grad()
        (refinement(codes(len(names)), refinement.rows_of(names)).pose - 1).square().sum().backward()
        optimizer.step()
        moved = (refinement.delta.weight.detach() - before).abs().amax(-1) > 0
        assert moved.tolist() == [name in names for name in "abc"]


def test_unknown_frames_keep_their_pose():
    refinement = PoseRefinement(["a"])
    torch.nn.init.ones_(refinement.delta.weight)
    pose = refinement(codes(2), refinement.rows_of(["a", "held out"])).pose
    assert torch.equal(pose, torch.tensor([[1.0] * 6, [0.0] * 6]))


def test_rows_belong_to_names_not_positions():
    first, second = PoseRefinement(["a", "b"]), PoseRefinement(["a", "b"])
    assert first.rows == second.rows == {"a": 0, "b": 1}


def test_gains_are_relative_and_unknown_cameras_have_none():
    gain = CameraGain(["left", "right"])
    with torch.no_grad():
        gain.log_gain.copy_(torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    colors = torch.full((1, 3, 3, 2, 2), 0.5)
    changed = gain(colors, gain.rows_of([["left", "right", "elsewhere"]]))
    expected = 0.5 * torch.tensor([0.5, -0.5, 0.0]).exp()
    torch.testing.assert_close(changed[0, :, 0, 0, 0], expected)
    torch.testing.assert_close(changed[0, 0, 0, 0, 0] * changed[0, 1, 0, 0, 0], torch.tensor(0.25))


def test_gain_recovers_an_exposure_difference():
    gain = CameraGain(["a", "b"])
    truth = torch.tensor([0.8, 1.25]).view(1, 2, 1, 1, 1).expand(1, 2, 3, 4, 4) * 0.5
    optimizer = torch.optim.Adam(gain.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        (gain(torch.full_like(truth, 0.5), gain.rows_of([["a", "b"]])) - truth).square().mean().backward()
        optimizer.step()
    centered = (gain.log_gain - gain.log_gain.mean(0)).exp()
    torch.testing.assert_close(centered[:, 0], torch.tensor([0.8, 1.25]), atol=5e-3, rtol=0)
