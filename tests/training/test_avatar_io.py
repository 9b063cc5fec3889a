"""From a checkpoint back to an avatar and what it remembers."""

from dataclasses import asdict

import pytest
import torch

from gha.avatars import MeshHead, MeshHeadConfig
from gha.avatars.fields import FieldsConfig, LayerSizes
from gha.avatars.mesh_head import initialize_sphere
from gha.errors import CheckpointError, InputError
from gha.faces.code import HeadCode
from gha.networks import DecoderConfig
from gha.training.avatar_io import Subject, from_dict, load_avatar
from gha.training.checkpoint import save_checkpoint
from gha.training.refinement import PoseRefinement

SUBJECT = Subject("captures/x", ["jawOpen"], [0.4], [0.0], [0.0, 0.1, 0.0, 1.0, 2.0, 3.0], [0.1], [64, 48], 66, 70)


@pytest.fixture(scope="module")
def head():
    torch.manual_seed(0)
    small = LayerSizes(8, 2)
    fields = FieldsConfig(
        feature_size=4,
        color_size=3,
        expression_color=small,
        pose_color=small,
        expression_deform=small,
        pose_deform=small,
    )
    config = MeshHeadConfig(bounds=[[-1.5, 1.5]] * 3, edge_mm=40.0, geometry=LayerSizes(16, 2), fields=fields)
    head = MeshHead(config, 1, torch.randn(70, 3))
    initialize_sphere(head, steps=60, points=1024)
    return head.eval()


def save(folder, head, **changes):
    metadata = {"method": "mesh_head", "head": asdict(head.config), "subject": asdict(SUBJECT)}
    tensors = {"avatar": head.state_dict()}
    poses = PoseRefinement(["0007", "0003"])
    with torch.no_grad():
        poses.delta.weight[1] = torch.arange(6.0)
    if "pose_frames" in changes:
        tensors["pose_refinement"] = poses.state_dict()
    save_checkpoint(folder, 12, tensors, metadata | changes)


def test_the_avatar_comes_back_with_its_subject(tmp_path, head):
    save(tmp_path / "checkpoints", head)
    loaded, info = load_avatar(tmp_path)
    assert (info.method, info.step, info.subject, info.poses) == ("mesh_head", 12, SUBJECT, None)
    code = info.subject.code()
    assert code.expression.tolist() == pytest.approx([0.4])
    batched = HeadCode(code.expression[None], code.pose[None], code.scale[None])
    with torch.no_grad():
        assert torch.equal(loaded(batched).mesh.vertices, head(batched).mesh.vertices)


def test_pose_corrections_belong_to_frames_by_name(tmp_path, head):
    save(tmp_path / "checkpoints", head, pose_frames=["0007", "0003"])
    _, info = load_avatar(tmp_path)
    code = HeadCode(torch.zeros(3, 1), torch.zeros(3, 6), torch.ones(3, 1))
    with torch.no_grad():
        pose = info.poses(code, info.poses.rows_of(["0003", "0007", "0099"])).pose
    assert pose.tolist() == [[0, 1, 2, 3, 4, 5], [0] * 6, [0] * 6]


def test_an_unknown_method_is_named(tmp_path, head):
    save(tmp_path / "checkpoints", head, method="statue")
    with pytest.raises(InputError, match="method 'statue' is not one of"):
        load_avatar(tmp_path)


def test_unknown_fields_are_named():
    with pytest.raises(InputError, match=r"Subject has no field \['hair'\]"):
        from_dict(Subject, asdict(SUBJECT) | {"hair": 1})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"subject": {}}, "missing 9 required positional arguments"),
        ({"subject": asdict(SUBJECT) | {"landmark_count": -1}}, "must be non-negative"),
        ({"subject": asdict(SUBJECT) | {"expression_names": ["a", "b"]}}, "size mismatch"),
    ],
)
def test_a_manifest_that_does_not_fit_its_tensors_is_named(changed, message, tmp_path, head):
    save(tmp_path / "checkpoints", head, **changed)
    with pytest.raises(
        CheckpointError, match=rf"step_00000012: its manifest and its tensors make no avatar.*{message}"
    ):
        load_avatar(tmp_path)


def test_a_decoder_of_before_there_was_a_choice_is_the_one_there_was():
    values = asdict(DecoderConfig(upsampling="light", capacity=8))
    assert from_dict(DecoderConfig, values).upsampling == "light"
    del values["upsampling"]
    assert from_dict(DecoderConfig, values) == DecoderConfig(upsampling="bilinear", capacity=8)
