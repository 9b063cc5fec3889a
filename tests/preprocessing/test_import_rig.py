"""Pictures with cameras of other programs: a point lands on the same pixel, whatever the source's conventions."""

import json
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from gha.apps.cli import main
from gha.capture import open_capture
from gha.capture.face_model import declare_face_model
from gha.errors import InputError
from gha.geometry import Camera
from gha.preprocessing.colmap_model import read_colmap
from gha.preprocessing.posed_pictures import import_pictures
from gha.preprocessing.transforms_json import read_transforms

WIDTH, HEIGHT = 60, 80
POINTS = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.05, 0.02], [-0.07, 0.1, 0.05]], dtype=torch.float64)
CAMERAS = ("a", "b", "c")


def truth(index):
    """A camera whose principal point is far from the centre."""
    camera = Camera.orbit(1.2, 10.0 * index, 30.0 * index - 20, 90.0, WIDTH, HEIGHT).to(dtype=torch.float64)
    K = camera.K.clone()
    K[0, 2] += 9.0
    K[1, 2] -= 6.0
    K[1, 1] *= 1.02
    return Camera(camera.w2c, K, WIDTH, HEIGHT)


def rgb(index, moment=0):
    return np.full((HEIGHT, WIDTH, 3), 40 * index + 9 * moment + 30, np.uint8)


def assert_same_cameras(folder, scale=1.0):
    capture = open_capture(folder)
    assert capture.camera_ids == CAMERAS
    for index, camera in enumerate(CAMERAS):
        found = capture.camera(camera, capture.frame_ids[-1]).to(dtype=torch.float64)
        expected, _ = truth(index).project(POINTS)
        assert (found.project(scale * POINTS)[0] - expected).abs().max() < 1e-3
    return capture


def write_pictures(folder, suffix=".jpg"):
    folder.mkdir(parents=True, exist_ok=True)
    for index, camera in enumerate(CAMERAS):
        Image.fromarray(rgb(index)).save(folder / f"{camera}{suffix}")


def nerf_entry(index, axes="opengl"):
    c2w = np.linalg.inv(truth(index).w2c.numpy())
    if axes == "opengl":
        c2w[:, 1:3] *= -1
    K = truth(index).K.tolist()
    return {
        "file_path": f"images/{CAMERAS[index]}.jpg", "transform_matrix": c2w.tolist(),
        "fl_x": K[0][0], "fl_y": K[1][1], "cx": K[0][2], "cy": K[1][2], "w": WIDTH, "h": HEIGHT,
    }  # fmt: skip


def write_transforms(folder, entries, **shared):
    write_pictures(folder / "images")
    path = folder / "transforms.json"
    path.write_text(json.dumps({**shared, "frames": entries}))
    return path


@pytest.mark.parametrize("axes", ["opengl", "opencv"])
def test_transforms_json_of_either_convention(axes, tmp_path):
    path = write_transforms(tmp_path, [nerf_entry(i, axes) for i in range(3)])
    target = tmp_path / "capture"
    assert main(["import-rig", str(path), str(target), "--axes", axes, "--quiet", "--parallel", "1"]) == 0
    capture = assert_same_cameras(target)
    assert capture.frame_ids == ("0000",)
    assert (target / "images/0000/image_b.jpg").read_bytes() == (tmp_path / "images/b.jpg").read_bytes()


def test_shared_intrinsics_by_angle_and_for_another_size(tmp_path):
    """camera_angle_x spans the width; a principal point that is not given is the centre."""
    keys = ("file_path", "transform_matrix")
    entries = [{key: nerf_entry(i)[key] for key in keys} for i in range(3)]
    angle = 2 * np.arctan(60 / 90)  # for pictures twice as large, of width 120 and focal length 90
    path = write_transforms(tmp_path, entries, camera_angle_x=angle, w=120, h=160)
    K = read_transforms(path)[0].camera.K
    assert torch.allclose(K, torch.tensor([[45.0, 0, 30], [0, 45, 40], [0, 0, 1]], dtype=torch.float64))


def test_an_export_of_vhap_keeps_moments_cameras_and_masks(tmp_path):
    entries = []
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:60, 10:50] = 255
    for moment in range(2):
        for index in range(3):
            name = f"{moment:05d}_{index:02d}.png"
            for folder, values in (("images", rgb(index, moment)), ("fg_masks", mask)):
                (tmp_path / folder).mkdir(exist_ok=True)
                Image.fromarray(values).save(tmp_path / folder / name)
            indices = {"timestep_index": moment, "camera_index": index, "camera_id": CAMERAS[index]}
            files = {"file_path": f"images/{name}", "fg_mask_path": f"fg_masks/{name}"}
            entries.append({**nerf_entry(index), **indices, **files})
    path = write_transforms(tmp_path, entries)
    target = import_pictures(read_transforms(path), tmp_path / "capture", "VHAP", metres_per_unit=2.0, progress=False)
    capture = assert_same_cameras(target, scale=2.0)
    assert capture.frame_ids == ("0000", "0001")
    assert (np.asarray(Image.open(target / "images/0001/mask_c.png")) == mask).all()
    assert abs(np.asarray(Image.open(target / "images/0001/image_c.jpg")).astype(int) - rgb(2, 1)).max() <= 1


def test_a_moving_camera_makes_a_moment_of_every_picture(tmp_path):
    path = write_transforms(tmp_path, [nerf_entry(i) for i in range(3)])
    capture = open_capture(import_pictures(read_transforms(path, moving=True), tmp_path / "c", "clip", progress=False))
    assert (capture.frame_ids, capture.camera_ids) == (("0000", "0001", "0002"), ("0",))
    assert not torch.equal(capture.camera("0", "0000").w2c, capture.camera("0", "0002").w2c)


def test_transparency_becomes_the_mask_and_gaps_leave_the_split(tmp_path):
    entries = [{**nerf_entry(i), "timestep_index": t, "camera_id": CAMERAS[i]} for t in (0, 1) for i in range(3)]
    path = write_transforms(tmp_path, entries[:-1])
    alpha = np.tile(np.arange(WIDTH, dtype=np.uint8) * 4, (HEIGHT, 1))
    for index, camera in enumerate(CAMERAS):
        Image.fromarray(np.dstack([rgb(index), alpha])).save(tmp_path / f"images/{camera}.png")
    values = json.loads(path.read_text())
    for entry in values["frames"]:
        entry["file_path"] = entry["file_path"].removesuffix(".jpg")  # NeRF's own files leave the suffix out
    path.write_text(json.dumps(values))
    target = import_pictures(read_transforms(path), tmp_path / "capture", "nerf", progress=False)
    capture = open_capture(target)
    assert capture.split.train_frames == ("0000",)
    assert torch.equal(capture.camera("c", "0001").w2c, capture.camera("c", "0000").w2c)  # all frames know all cameras
    assert (np.asarray(Image.open(target / "images/0000/mask_a.png")) == alpha).all()


def test_a_camera_may_miss_the_first_moment(tmp_path):
    """Also twice: fitting notes its face model in capture.json, and importing again keeps it."""
    moments = [(t, i) for t in (0, 1) for i in range(3)]
    entries = [{**nerf_entry(i), "timestep_index": t, "camera_id": CAMERAS[i]} for t, i in moments]
    path = write_transforms(tmp_path, entries[1:])
    write_pictures(tmp_path / "images")
    target = import_pictures(read_transforms(path), tmp_path / "capture", "nerf", progress=False)
    assert open_capture(target).camera_ids == CAMERAS
    assert open_capture(target).split.train_frames == ("0001",)
    assert not (target / "images/0000/image_a.jpg").exists()
    declare_face_model(target, ("jawOpen",), "egg", "1")
    import_pictures(read_transforms(path), target, "nerf", progress=False)
    assert open_capture(target).info.expression_names == ("jawOpen",)
    assert open_capture(target).info.face_model == "egg"


def colmap_numbers(index):
    x, y, z, w = Rotation.from_matrix(truth(index).w2c[:3, :3].numpy()).as_quat().tolist()
    return [w, x, y, z, *truth(index).w2c[:3, 3].tolist()]


def write_colmap_text(folder, model="PINHOLE"):
    folder.mkdir(parents=True, exist_ok=True)
    lenses, images = ["# comment"], ["# comment"]
    for index, camera in enumerate(CAMERAS):
        K = truth(index).K.tolist()
        lenses.append(f"{index + 1} {model} {WIDTH} {HEIGHT} {K[0][0]} {K[1][1]} {K[0][2]} {K[1][2]}")
        numbers = " ".join(map(repr, colmap_numbers(index)))
        images += [f"{index + 7} {numbers} {index + 1} {camera}.jpg", "1.5 2.5 -1" if index else ""]
    (folder / "cameras.txt").write_text("\n".join(lenses) + "\n")
    (folder / "images.txt").write_text("\n".join(images) + "\n")


def write_colmap_binary(folder):
    folder.mkdir(parents=True, exist_ok=True)
    lenses, images = struct.pack("<Q", 3), struct.pack("<Q", 3)
    for index, camera in enumerate(CAMERAS):
        K = truth(index).K.tolist()
        lenses += struct.pack("<iiQQ4d", index + 1, 1, WIDTH, HEIGHT, K[0][0], K[1][1], K[0][2], K[1][2])
        images += struct.pack("<i7di", index + 7, *colmap_numbers(index), index + 1)
        images += f"{camera}.jpg\0".encode() + struct.pack("<Q", index) + struct.pack("<ddq", 1.0, 2.0, -1) * index
    (folder / "cameras.bin").write_bytes(lenses)
    (folder / "images.bin").write_bytes(images)


@pytest.mark.parametrize("write", [write_colmap_text, write_colmap_binary])
def test_colmap_models(write, tmp_path):
    write(tmp_path / "sparse")
    write_pictures(tmp_path / "images")
    target = tmp_path / "capture"
    assert main(["import-rig", str(tmp_path / "sparse"), str(target), "--quiet", "--parallel", "1"]) == 0
    assert_same_cameras(target)
    times = {path: path.stat().st_mtime_ns for path in target.glob("images/*/*")}
    assert main(["import-rig", str(tmp_path / "sparse"), str(target), "--quiet", "--parallel", "1"]) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_colmap_folders_are_cameras(tmp_path):
    write_colmap_text(tmp_path / "sparse")
    text = (tmp_path / "sparse/images.txt").read_text()
    for camera in CAMERAS:
        text = text.replace(f"{camera}.jpg", f"{camera}/000.jpg")
        (tmp_path / "images" / camera).mkdir(parents=True)
        Image.fromarray(rgb(1)).save(tmp_path / f"images/{camera}/000.jpg")
    (tmp_path / "sparse/images.txt").write_text(text)
    pictures = read_colmap(tmp_path / "sparse", tmp_path / "images", "folders")
    assert_same_cameras(import_pictures(pictures, tmp_path / "capture", "colmap", progress=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k1": 0.1}, r"frame 1: found lens distortion \{'k1': 0.1\}"),
        ({"fl_x": 0}, "frame 1: found focal lengths 0 and"),
        ({"fl_x": "wide"}, "frame 1: fl_x is 'wide', expected a number"),
        ({"transform_matrix": np.diag([1, 2, 1, 1]).tolist()}, "frame 1: found .* expected a rotation"),
        ({"transform_matrix": np.diag([-1, 1, 1, 1]).tolist()}, "frame 1: found a mirror image"),
        ({"transform_matrix": np.zeros((4, 4)).tolist()}, "frame 1: found a transform_matrix without inverse"),
        ({"transform_matrix": [1, 2]}, r"frame 1: transform_matrix: found shape \[2\]"),
        ({"file_path": "images/none.jpg"}, r"none.jpg: file not found; .*frame 1 names it"),
        ({"fg_mask_path": "none.png"}, "none.png: file not found"),
        ({"file_path": "images/a.jpg"}, "found 3 pictures of 2 views"),
    ],
)
def test_bad_transforms_are_refused_by_name(change, message, tmp_path):
    entries = [nerf_entry(i) for i in range(3)]
    entries[1] |= change
    path = write_transforms(tmp_path, entries)
    with pytest.raises(InputError, match=message):
        import_pictures(read_transforms(path), tmp_path / "capture", "nerf", progress=False)


def test_bad_colmap_models_are_refused_by_name(tmp_path):
    write_pictures(tmp_path / "images")
    with pytest.raises(InputError, match="found neither images"):
        read_colmap(tmp_path, tmp_path / "images")
    write_colmap_text(tmp_path / "bent", "OPENCV")
    with pytest.raises(InputError, match=r"image a.jpg: found camera model OPENCV, expected PINHOLE"):
        read_colmap(tmp_path / "bent", tmp_path / "images")
    write_colmap_binary(tmp_path / "torn")
    content = (tmp_path / "torn/images.bin").read_bytes()
    for cut in (4, 30, 80, len(content) // 2 + 20):
        (tmp_path / "torn/images.bin").write_bytes(content[:cut])
        with pytest.raises(InputError, match=r"torn: not a readable COLMAP model"):
            read_colmap(tmp_path / "torn", tmp_path / "images")


def test_another_source_is_not_mixed_in(tmp_path):
    path = write_transforms(tmp_path, [nerf_entry(i) for i in range(3)])
    import_pictures(read_transforms(path), tmp_path / "capture", "one", progress=False)
    with pytest.raises(InputError, match="holds another capture"):
        import_pictures(read_transforms(path), tmp_path / "capture", "other", progress=False)
