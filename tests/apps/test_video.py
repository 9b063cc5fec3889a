"""Videos that can be read back, and that never exist half-written."""

import av
import numpy as np
import pytest

from gha.apps.video import VideoWriter


def read_back(path) -> tuple[np.ndarray, float, str]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), float(stream.average_rate), f"{stream.codec_context.name} {stream.pix_fmt}"


def test_frames_come_back_in_order(tmp_path):
    levels = [20, 120, 220, 60]
    with VideoWriter(tmp_path / "new" / "video.mp4", fps=12.5) as writer:
        for level in levels:
            writer.write(np.full((33, 46, 3), level, np.uint8))
    frames, fps, kind = read_back(tmp_path / "new" / "video.mp4")
    assert frames.shape == (4, 34, 46, 3)  # odd heights are padded
    assert np.abs(frames.mean((1, 2, 3)) - levels).max() < 3
    assert fps == 12.5
    assert kind == "h264 yuv420p"


def write_and_interrupt(path):
    with VideoWriter(path, fps=25) as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8))
        raise KeyboardInterrupt


def test_an_interrupted_video_leaves_the_old_one(tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_without_frames_is_no_file(tmp_path):
    with VideoWriter(tmp_path / "video.mp4", fps=25):
        pass
    assert list(tmp_path.iterdir()) == []


def test_frames_of_another_size_or_kind_are_refused(tmp_path):
    with VideoWriter(tmp_path / "video.mp4", fps=25) as writer:
        writer.write(np.zeros((16, 16, 3), np.uint8))
        with pytest.raises(ValueError, match=r"frames are \[16, 16, 3\], got one of \[16, 18, 3\]"):
            writer.write(np.zeros((16, 18, 3), np.uint8))
        with pytest.raises(ValueError, match="uint8"):
            writer.write(np.zeros((16, 16, 3)))
