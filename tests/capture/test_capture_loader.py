"""What training draws: purity of the schedule, determinism of the loader, the cache."""

import collections
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_capture import CAMERAS, FRAMES

from gha.capture import FrameLoader, SampleSchedule, open_capture
from gha.capture.sampling import random_order
from gha.errors import InputError

NAMES = tuple(f"{index:03d}" for index in range(10))


def test_a_step_depends_on_seed_and_step_only():
    schedule = SampleSchedule(5, NAMES, NAMES, 3, 4)
    forwards = [schedule.at(step) for step in range(50)]
    again = SampleSchedule(5, NAMES, NAMES, 3, 4)
    assert [again.at(step) for step in reversed(range(50))] == forwards[::-1]
    assert [SampleSchedule(6, NAMES, NAMES, 3, 4).at(step) for step in range(50)] != forwards


def test_known_draws_do_not_change_between_versions():
    # Resuming an old run depends on these very numbers.
    assert random_order(6, 0, 1, 0).tolist() == [3, 1, 5, 4, 2, 0]
    assert SampleSchedule(0, NAMES, NAMES, 2, 2).at(7) == [("009", ("008", "004")), ("005", ("002", "008"))]


def test_every_epoch_sees_every_frame_once():
    schedule = SampleSchedule(1, NAMES, NAMES, 5)
    for epoch in range(20):
        seen = [frame for step in (2 * epoch, 2 * epoch + 1) for frame, _ in schedule.at(step)]
        assert sorted(seen) == sorted(NAMES)


def test_cameras_of_a_frame_are_distinct_and_evenly_drawn():
    schedule = SampleSchedule(1, NAMES, NAMES, 1, 3)
    counts = collections.Counter()
    for step in range(2000):
        [(_, cameras)] = schedule.at(step)
        assert len(set(cameras)) == 3
        counts.update(cameras)
    assert all(abs(count - 600) < 100 for count in counts.values())  # 600 expected, deviation about 20


def test_processes_share_a_step_without_overlap():
    whole = SampleSchedule(2, NAMES, NAMES, 4)
    parts = [SampleSchedule(2, NAMES, NAMES, 2, rank=rank, world_size=2) for rank in (0, 1)]
    for step in range(20):
        assert parts[0].at(step) + parts[1].at(step) == whole.at(step)


def test_impossible_schedules_are_refused():
    with pytest.raises(InputError, match="found views_per_frame = 11, expected 1 to 10"):
        SampleSchedule(0, NAMES, NAMES, 1, 11)
    with pytest.raises(InputError, match="found 0 frames"):
        SampleSchedule(0, (), NAMES)


def batches(root, workers, start_step=0, count=8, cache_bytes=2**30, size=64):
    schedule = SampleSchedule(3, FRAMES, CAMERAS, 2, 2)
    with FrameLoader(open_capture(root), schedule, size, start_step, workers, cache_bytes) as loader:
        return [next(loader) for _ in range(count)]


def same(left, right):
    return (
        left.frame_id == right.frame_id
        and left.camera_ids == right.camera_ids
        and torch.equal(left.image, right.image)
        and torch.equal(left.mask, right.mask)
        and torch.equal(left.code.expression, right.code.expression)
    )


def test_batches_do_not_depend_on_workers_or_cache(our_capture):
    reference = batches(our_capture, 0, cache_bytes=0)
    for workers, cache_bytes in ((0, 2**30), (1, 2**30), (3, 0), (3, 40_000)):
        found = batches(our_capture, workers, cache_bytes=cache_bytes)
        assert all(map(same, found, reference))


def test_a_resumed_loader_continues_where_it_stopped(our_capture):
    reference = batches(our_capture, 2)
    assert all(map(same, batches(our_capture, 2, start_step=5, count=3), reference[5:]))


def test_batches_carry_a_batch_dimension(our_capture):
    batch = batches(our_capture, 1, count=1, size=(75, 70))[0]
    assert batch.image.shape == (2, 2, 3, 75, 70)
    assert batch.mask.shape == batch.visible.shape == (2, 2, 1, 75, 70)
    assert batch.camera.w2c.shape == (2, 2, 4, 4)
    assert (batch.camera.width, batch.camera.height) == (70, 75)
    assert batch.code.expression.shape == (2, 4)
    assert batch.code.identity.shape == (2, 3)
    assert batch.code.jaw is None
    assert batch.landmarks.shape == (2, 424, 3)
    assert len(batch.frame_id) == len(batch.camera_ids) == 2
    single = open_capture(our_capture).read(batch.frame_id[1], batch.camera_ids[1], (75, 70))
    assert torch.equal(batch.image[1], single.image)
    torch.testing.assert_close(batch.camera.K[1], single.camera.K)


def test_a_warm_cache_decodes_nothing(our_capture, monkeypatch):
    schedule = SampleSchedule(0, FRAMES, CAMERAS, 3, 2)
    with FrameLoader(open_capture(our_capture), schedule, 64, workers=0) as loader:
        first = next(loader)
        monkeypatch.setattr(Image, "open", pytest.fail)
        order = [first.frame_id.index(frame) for frame in next(loader).frame_id]
        assert sorted(order) == [0, 1, 2]


@pytest.mark.parametrize("cache_bytes", [0, 2**30])
def test_a_picture_written_anew_while_training_is_read_anew(broken, cache_bytes):
    schedule = SampleSchedule(0, FRAMES[:1], CAMERAS[:1])
    with FrameLoader(open_capture(broken), schedule, None, workers=0, cache_bytes=cache_bytes) as loader:
        assert next(loader).mask.unique().tolist() == [0, 255]
        with Image.open(mask := next(broken.glob("images/2/mask_7.*"))) as picture:
            darker = picture.point(lambda value: value // 5)
        darker.save(mask)
        assert next(loader).mask.unique().tolist() == [0, 51]


THREADS_OF_A_LOADER = """
import os, sys, torch
from gha.capture import FrameLoader, SampleSchedule, open_capture

torch.set_num_threads(4)
(torch.ones(10**6) + 1).sum()  # the pool of this thread
capture = open_capture(sys.argv[1])
before = len(os.listdir("/proc/self/task"))
with FrameLoader(capture, SampleSchedule(0, capture.frame_ids, capture.camera_ids, 2, 2), None, workers=3) as frames:
    for _ in range(12):
        next(frames)
    print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux shows them")
def test_workers_bring_no_threads_but_themselves(our_capture):
    command = [sys.executable, "-c", THREADS_OF_A_LOADER, str(our_capture)]
    assert int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == 3


def test_an_error_in_a_worker_reaches_the_caller(broken):
    for path in broken.glob("images/*/image_*7.jpg"):
        path.unlink()
    capture = open_capture(broken, held_out_cameras=["7"])
    with (
        FrameLoader(capture, SampleSchedule(0, FRAMES, ["7"]), (64, 64), workers=2) as loader,
        pytest.raises(InputError, match="file not found"),
    ):
        next(loader)


def test_closing_stops_the_threads(our_capture):
    schedule = SampleSchedule(0, FRAMES, CAMERAS)
    loader = FrameLoader(open_capture(our_capture), schedule, 64, workers=3)
    next(loader)
    assert any(thread.name.startswith("frames") for thread in threading.enumerate())
    loader.close()
    assert not any(thread.name.startswith("frames") for thread in threading.enumerate())


def test_reading_only_decodes_what_was_asked_for(our_capture, monkeypatch):
    opened = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda path, *rest: opened.append(path.name) or original(path, *rest))
    open_capture(our_capture).read("10", ["12"])
    assert {name for name in opened if "12" not in name} <= {"image_7.jpg"}  # the header that tells the resolution
