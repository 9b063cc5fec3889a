import pytest

from gha.apps.command import run_command
from gha.apps.train import choose_device
from gha.errors import InputError


def test_a_device_that_does_not_exist_is_named():
    with pytest.raises(InputError, match="device: found 'gpu', expected cpu, cuda"):
        choose_device("gpu")
    assert choose_device("cpu").type == "cpu"


@pytest.mark.parametrize("key", ["data.camera_color", "head.fields.blend_metric", "head.pose_deform_input"])
def test_a_mistyped_choice_is_refused_with_the_choices(key, capsys):
    assert run_command("Test.", "gha.apps.training_config:MeshRunConfig", print, [f"{key}=of"]) == 1
    assert f"{key}: expected one of " in capsys.readouterr().err
