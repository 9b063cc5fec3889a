"""Every number a command takes is refused by name where it could not work."""

import pytest

from gha.apps.config import load_config
from gha.apps.evaluate import EvaluationConfig
from gha.apps.reenact import ReenactmentConfig
from gha.apps.training_config import GaussianRunConfig, MeshRunConfig
from gha.errors import InputError

RUN = ["name=a", "data.capture=c"]


@pytest.mark.parametrize(
    "override",
    [
        "loop.steps=-5", "loop.steps=0", "loop.log_every=0", "loop.checkpoint_every=0", "loop.keep_checkpoints=0",
        "loop.seed=1234567890123456789",
        "loop.final_learning_rate_factor=nan", "data.resolution=-64", "data.resolution=3", "data.views_per_frame=0",
        "data.frames_per_step=0", "data.workers=-1", "data.cache_gib=nan", "data.cache_gib=inf",
        "training.sphere_steps=-1", "training.learning_rate=-1", "training.loss.rgb=nan", "head.edge_mm=0",
        "head.edge_mm=1e6", "head.bounds=[]", "head.bounds=[[-1, 1]]", "head.bounds=[[-1, 1], [-1, 1], [-1]]",
        "head.bounds=[[1, -1], [1, -1], [1, -1]]", "head.bounds=[[nan, 1], [-1, 1], [-1, 1]]",
        "head.sphere_center=[0, 0]", "head.sphere_radius=0", "head.geometry.width=-1", "head.geometry.layers=-1",
        "head.fields.color_size=2", "head.fields.frequencies=-1", "head.search_interval=0",
    ],
)  # fmt: skip
def test_stage_1(override):
    with pytest.raises(InputError, match=rf"command line: {override.partition('=')[0]}: found"):
        load_config(MeshRunConfig, None, [*RUN, override])


def test_a_fade_that_ends_before_it_starts():
    with pytest.raises(InputError, match=r"head\.fields\.blend_far: found 0\.25, expected more than blend_near"):
        load_config(MeshRunConfig, None, [*RUN, "head.fields.blend_near=1"])


@pytest.mark.parametrize(
    "override",
    [
        "head.initial_opacity=0", "head.initial_opacity=1", "head.mouth_points=-1", "head.transfer_edge_mm=-1",
        "head.face_edge_mm=0.01", "head.body_edge_mm=0.01", "head.body_edge_mm=101", "head.decoder.capacity=0",
        "head.decoder.normalization=instance", "head.decoder.align_corners=true",
        "training.zoom=[nan, 1]", "training.learning_rate=inf",
        "training.zoom=[1]", "training.zoom=[0, 0]", "training.zoom=[2, 1]", "training.window=-8",
        "training.window=18", "training.face_windows=7", "training.pose_learning_rate=-1",
        "training.loss.features=-1", "training.loss.fine_squared=-1",
    ],
)  # fmt: skip
def test_stage_2(override):
    with pytest.raises(InputError, match=rf"command line: {override.partition('=')[0]}: found"):
        load_config(GaussianRunConfig, None, [*RUN, override])


@pytest.mark.parametrize(
    ("schema", "override"),
    [
        (ReenactmentConfig, "fps=-1"),
        (ReenactmentConfig, "fps=nan"),
        (ReenactmentConfig, "smoothing=-1"),
        (ReenactmentConfig, "resolution=3"),
        (ReenactmentConfig, "background=[0, 0, 2]"),
        (ReenactmentConfig, "orbit.period=0"),
        (ReenactmentConfig, "orbit.target=[0, 0]"),
        (EvaluationConfig, "max_images=-1"),
        (EvaluationConfig, "contact_images=-1"),
        (EvaluationConfig, "background=[1]"),
    ],
)
def test_evaluation_and_reenactment(schema, override):
    with pytest.raises(InputError, match=rf"command line: {override.partition('=')[0]}: found"):
        load_config(schema, None, ["run=r", override])
