import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

import gha
import gha.files
from gha.errors import CheckpointError
from gha.training.checkpoint import LATEST, has_checkpoint, list_checkpoints, load_checkpoint, save_checkpoint

MODEL = {
    "weight": torch.arange(6.0).reshape(2, 3),
    "count": torch.tensor(3),
    "half": torch.ones(2, dtype=torch.bfloat16),
}
METADATA = {"method": "gaussian", "config": {"lr": 1e-4}, "dataset": "abc"}


def save(folder, step, value=0.0, **kwargs):
    return save_checkpoint(folder, step, {"model": {"weight": torch.full((3,), float(value))}}, METADATA, **kwargs)


def names(folder):
    return [path.name for path in list_checkpoints(folder)]


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
    tensors = {"model": MODEL, "random": {"cpu": torch.get_rng_state()}}
    path = save_checkpoint(tmp_path, 12, tensors, METADATA)
    for place in (path, tmp_path, tmp_path / LATEST):
        checkpoint = load_checkpoint(place)
        assert checkpoint.step == 12
        assert checkpoint.metadata == METADATA
        assert checkpoint.path == path
        for group, named in tensors.items():
            assert set(checkpoint.tensors[group]) == set(named)
            for name, tensor in named.items():
                loaded = checkpoint.tensors[group][name]
                assert loaded.dtype == tensor.dtype
                assert torch.equal(loaded, tensor)


def test_views_and_shared_memory_are_saved_whole(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    named = {"transposed": base.T, "row": base[1], "same": base, "again": base}
    save_checkpoint(tmp_path, 1, {"model": named}, {})
    loaded = load_checkpoint(tmp_path).tensors["model"]
    assert all(torch.equal(loaded[name], tensor) for name, tensor in named.items())


def test_a_run_folder_stands_for_its_latest_checkpoint(tmp_path):
    save(tmp_path / "checkpoints", 5, 7)
    assert load_checkpoint(tmp_path).step == 5


def test_manifest_says_what_wrote_it(tmp_path):
    manifest = json.loads((save(tmp_path, 3) / "manifest.json").read_text())
    assert manifest["library"] == gha.__version__
    assert manifest["schema"] == 1
    assert (
        manifest["files"]["model.safetensors"]["bytes"] == (tmp_path / "step_00000003/model.safetensors").stat().st_size
    )


def test_the_last_ones_and_the_pinned_one_are_kept(tmp_path):
    save(tmp_path, 1, pinned=True)
    for step in (2, 3, 4):
        save(tmp_path, step, keep=2)
    assert names(tmp_path) == ["step_00000001", "step_00000003", "step_00000004"]


def test_going_back_to_an_earlier_step_makes_that_the_latest_and_removes_nothing_later(tmp_path):
    for step in (100, 200):
        save(tmp_path, step)
    save(tmp_path, 150)
    assert load_checkpoint(tmp_path).step == 150
    assert "step_00000200" in names(tmp_path)


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, 9, 1)
    save(tmp_path, 10, 1)
    save(tmp_path, 10, 2)
    assert load_checkpoint(tmp_path).tensors["model"]["weight"][0] == 2
    assert names(tmp_path) == ["step_00000009", "step_00000010_1"]


def test_a_mistyped_path_says_what_is_there(tmp_path):
    save(tmp_path / "runs/alice/mesh/checkpoints", 5)
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*alise.*runs holds alice"):
        load_checkpoint(tmp_path / "runs/alise/mesh")
    with pytest.raises(CheckpointError, match=r"step_00000006.*step_00000005, step_latest"):
        load_checkpoint(tmp_path / "runs/alice/mesh/checkpoints/step_00000006")
    assert not has_checkpoint(tmp_path / "runs/alise/mesh")


def test_another_method_is_refused(tmp_path):
    save(tmp_path, 5)
    with pytest.raises(CheckpointError, match="method 'gaussian', expected 'mesh'"):
        load_checkpoint(tmp_path, method="mesh")


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_is_found_and_an_earlier_checkpoint_is_used(tmp_path, damage, caplog):
    save(tmp_path, 1)
    newest = save(tmp_path, 2) / "model.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    {
        "flip": lambda: newest.write_bytes(content),
        "truncate": lambda: newest.write_bytes(content[:-5]),
        "remove": newest.unlink,
    }[damage]()
    with pytest.raises(CheckpointError, match=r"model\.safetensors (is damaged: expected|cannot be read)"):
        load_checkpoint(newest.parent)
    assert load_checkpoint(tmp_path).step == 1
    assert "trying an earlier checkpoint" in caplog.text


def test_a_lost_pointer_falls_back_to_the_newest(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    (tmp_path / LATEST).unlink()
    assert load_checkpoint(tmp_path).step == 2


def test_a_newer_schema_is_refused_by_number(tmp_path):
    manifest = save(tmp_path, 1) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema": 1', '"schema": 99'))
    with pytest.raises(CheckpointError, match="schema version 99, expected 1"):
        load_checkpoint(manifest.parent)


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, 1, 5)

    def no_space(path, content):
        path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gha.training.checkpoint.write_durably", no_space)
    with pytest.raises(CheckpointError, match=r"step 2 .*No space left on device; step_00000001 is intact"):
        save(tmp_path, 2)
    assert load_checkpoint(tmp_path).tensors["model"]["weight"][0] == 5
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["step_00000001", LATEST]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot write the checkpoint of step 2 .* no earlier checkpoint"):
        save(tmp_path / "file" / "checkpoints", 2)


def test_loading_never_unpickles(tmp_path):
    proof = tmp_path / "executed"

    class Attack:
        def __reduce__(self):
            return Path.touch, (proof,)

    path = save(tmp_path / "checkpoints", 1)
    for content in (pickle.dumps(Attack()), pickle.dumps({"weight": Attack()}, protocol=0)):
        (path / "model.safetensors").write_bytes(content)
        manifest = json.loads((path / "manifest.json").read_text())
        manifest["files"]["model.safetensors"]["sha256"] = gha.files.sha256_of(content)
        (path / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(CheckpointError, match="not a safetensors file"):
            load_checkpoint(path)
    assert not proof.exists()


def test_a_manifest_cannot_point_outside(tmp_path):
    outside = tmp_path / "secret.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, outside)
    path = save(tmp_path / "checkpoints", 1)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"] = {"../../secret.safetensors": {"sha256": gha.files.sha256_of(outside.read_bytes())}}
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="outside the checkpoint"):
        load_checkpoint(path)


def test_a_manifest_that_is_not_one_is_refused(tmp_path):
    path = save(tmp_path, 1)
    for text in ("", "[]", '{"schema": 1}', "\x00"):
        (path / "manifest.json").write_text(text)
        with pytest.raises(CheckpointError, match="not a checkpoint manifest"):
            load_checkpoint(path)


WRITER = """
import sys, torch
torch.set_num_threads(1)
from gha.training.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
folder = sys.argv[1]
step = load_checkpoint(folder).step if has_checkpoint(folder) else 0
print("ready", flush=True)
while True:
    step += 1
    save_checkpoint(folder, step, {"model": {"weight": torch.full((50_000,), float(step))}}, {})
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_killed_at_any_moment_the_run_resumes_from_a_whole_checkpoint(tmp_path):
    reached = 0
    for attempt in range(4):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.15 + 0.037 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        checkpoint = load_checkpoint(tmp_path)
        assert torch.all(checkpoint.tensors["model"]["weight"] == checkpoint.step)
        assert checkpoint.step > reached
        reached = checkpoint.step


def test_checkpoints_of_every_schema_version_load():
    checkpoint = load_checkpoint(Path(__file__).parent / "data" / "checkpoint_schema_1", method="mesh_head")
    assert checkpoint.step == 7
    assert checkpoint.metadata["config"] == {"learning_rate": 1e-3}
    assert torch.equal(checkpoint.tensors["model"]["weight"], torch.arange(6.0).reshape(2, 3))
    assert checkpoint.tensors["optimizer_all"]["model.weight:step"] == 7
