"""The rig: sixteen cameras over the front 120 degrees."""

import numpy as np
import pytest
import torch

from gha.capture.rig import SERIALS, held_out_cameras, make_rig
from gha.errors import InputError


def directions(rig):
    centers = rig.cameras.center.numpy()
    azimuth = np.degrees(np.arctan2(centers[:, 0], centers[:, 2]))
    return azimuth, np.degrees(np.arcsin(centers[:, 1] / np.linalg.norm(centers, axis=1)))


def test_cameras_cover_the_front_in_three_rows():
    rig = make_rig(16, 512, seed=0)
    azimuth, elevation = directions(rig)
    assert rig.camera_ids == SERIALS
    assert azimuth.min() < -55
    assert azimuth.max() > 55
    assert np.abs(azimuth).max() < 66
    assert ((elevation > 15).sum(), (elevation < -12).sum()) == (5, 5)


def test_cameras_look_at_the_head_with_their_own_calibration():
    rig = make_rig(16, 512, seed=3)
    pixels, depth = rig.cameras.project(torch.zeros(1, 3))
    assert ((pixels - 256).abs() < 85).all()  # the face lies in front of what the cameras look at
    assert ((depth > 0.9) & (depth < 1.4)).all()
    focal, centre = rig.cameras.K[:, 0, 0], rig.cameras.K[:, :2, 2]
    assert 0 < focal.std() / focal.mean() < 0.02
    assert 1 < (centre - 256).abs().max() < 0.021 * 512


def test_resolution_only_scales_the_intrinsics():
    small, large = make_rig(4, 128, seed=1).cameras, make_rig(4, 512, seed=1).cameras
    assert torch.allclose(small.resize(512, 512).K, large.K, rtol=1e-5)
    assert torch.equal(small.w2c, large.w2c)


def test_few_cameras_are_spread():
    azimuth, _ = directions(make_rig(4, 64, seed=0))
    assert azimuth.max() - azimuth.min() > 90


def test_exposure_differs_only_when_asked():
    assert (make_rig(16, 64, seed=0).gains == 1).all()
    gains = make_rig(16, 64, seed=0, exposure_variation=0.1).gains
    assert 0.05 < np.log(gains).mean(1).std() < 0.2
    assert (np.log(gains).std(1) < 0.1).all()


def test_held_out_cameras_are_inside_the_rig():
    assert held_out_cameras(SERIALS, 2) == ("222200038", "222200045")
    assert len(held_out_cameras(SERIALS, 5)) == 5
    assert held_out_cameras(SERIALS, 0) == ()


def test_counts_are_checked():
    with pytest.raises(InputError, match="2 to 16 cameras, found 17"):
        make_rig(17, 64, seed=0)
    with pytest.raises(InputError, match="4 of 4 cameras held out"):
        held_out_cameras(SERIALS[:4], 4)
