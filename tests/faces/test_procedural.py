"""The built-in head: its contract, its anatomy, and that every expression does what its name says."""

import numpy as np
import pytest
import torch

from gha.errors import InputError
from gha.faces import ProceduralHead

GAZE = ("Up", "Down", "In", "Out")
BACK_OF_HEAD = -1.3  # canonical depth behind which nothing but hair and skull lies


@pytest.fixture(scope="module")
def head():
    return ProceduralHead(texture_size=128, hair_strands=200)


@pytest.fixture(scope="module")
def neutral(head):
    return shape(head)


def shape(head, identity=None, **expression):
    coefficients = torch.zeros(len(head.expression_names))
    for name, value in expression.items():
        coefficients[head.expression_names.index(name)] = value
    return head.vertices(torch.zeros(head.identity_size) if identity is None else identity, coefficients)


def both(name, value=1.0):
    return {name + "Left": value, name + "Right": value}


def part(head, name):
    return head._template.slices[name]


def test_contract(head, neutral):
    count = len(neutral)
    assert neutral.dtype == torch.float32
    assert neutral.shape == (count, 3)
    assert head.triangles.dtype == torch.int64
    assert head.triangles.max() == count - 1
    assert head.triangles.min() == 0
    assert head.landmarks.shape == (68,)
    assert len(set(head.landmarks.tolist())) == 68
    assert head.head_weights.shape == (count,)
    assert head.head_weights.dtype == torch.float32
    assert head.head_weights.min() == 0
    assert head.head_weights.max() == 1
    assert head.neck_pivot.shape == (3,)
    assert len(head.expression_names) == 52 == len(set(head.expression_names))
    assert head.identity_size == len(head.identity_names) >= 10


def test_origin_is_the_mean_of_the_face_region(head, neutral):
    assert neutral[head.face_region].mean(0).abs().max() < 1e-5


def test_batches_broadcast(head, neutral):
    batch = head.vertices(torch.zeros(head.identity_size), torch.zeros(2, 3, len(head.expression_names)))
    assert batch.shape == (2, 3, *neutral.shape)
    torch.testing.assert_close(batch[1, 2], neutral)


def test_same_parameters_give_the_same_bytes(head):
    identity = torch.linspace(-1, 1, head.identity_size)
    again = ProceduralHead(texture_size=128, hair_strands=200)
    assert torch.equal(shape(head, identity, jawOpen=0.5), shape(again, identity, jawOpen=0.5))
    first, second = head.appearance(identity, 3), again.appearance(identity, 3)
    for a, b in zip(first.materials, second.materials, strict=True):
        assert np.array_equal(a.texture, b.texture)
    assert not np.array_equal(first.materials[0].texture, head.appearance(identity, 4).materials[0].texture)


def test_wrong_sizes_are_named(head):
    with pytest.raises(InputError, match=rf"identity \[..., {head.identity_size}\].*found \[3\]"):
        head.vertices(torch.zeros(3), torch.zeros(len(head.expression_names)))
    with pytest.raises(InputError, match="found texture_size=8"):
        ProceduralHead(texture_size=8)


def test_metric_of_a_real_head(head, neutral):
    skin = neutral[part(head, "skin")]
    eyes = [neutral[part(head, f"{side}_eye")].mean(0) for side in ("left", "right")]
    assert 0.55 < eyes[0][0] - eyes[1][0] < 0.70  # interpupillary distance in dm
    chin = neutral[head.landmarks[8], 1]
    assert 2.0 < skin[:, 1].max() - chin < 2.5
    assert 1.3 < skin[head.head_weights[part(head, "skin")] == 1, 0].max() * 2 < 1.7


def test_landmarks_follow_ibug_order(head, neutral):
    x, y, z = neutral[head.landmarks].T
    assert (x[1:16].diff() > 0).all()
    assert x[0] < -0.6
    assert x[16] > 0.6
    assert y[8] == y[:17].min()
    assert (x[17:27].diff() > 0).all()  # brows
    assert (y[27:31].diff() < 0).all()
    assert z[30] == z.max()
    assert (x[31:36].diff() > 0).all()
    for corner in (36, 42):  # eyes: corner, upper lid, corner, lower lid
        assert x[corner] < x[corner + 1] < x[corner + 2] < x[corner + 3]
        assert (y[[corner + 1, corner + 2]] > y[[corner + 5, corner + 4]] + 0.05).all()
    assert (x[48:55].diff() > 0).all()
    assert (x[54:60].diff() < 0).all()
    assert (y[50:53] > y[[58, 57, 56]] + 0.1).all()
    assert (x[60:65].diff() > 0).all()
    assert y[51] > y[62]
    assert y[57] < y[66]


def test_mean_head_is_symmetric(head, neutral):
    skin = neutral[part(head, "skin")]
    mirrored = skin[torch.from_numpy(head._template.head.mirror)] * torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(mirrored, skin, atol=1e-6, rtol=0)
    pairs = [(0, 16), (5, 11), (17, 26), (21, 22), (31, 35), (36, 45), (38, 43), (41, 46), (48, 54), (50, 52), (60, 64)]
    for right, left in pairs:
        opposite = neutral[head.landmarks[right]] * torch.tensor([-1.0, 1, 1])
        torch.testing.assert_close(opposite, neutral[head.landmarks[left]], atol=1e-6, rtol=0)


def test_triangles_have_area_and_face_outwards(head, neutral):
    corners = neutral.double()[head.triangles]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert normal.norm(dim=1).min() > 1e-10
    region = torch.zeros(len(neutral), dtype=torch.bool)
    region[head.face_region] = True
    on_face = region[head.triangles].all(1)
    outward = corners.mean(1) - torch.tensor([0.0, 0.0, -0.9])
    facing = (normal * outward).sum(1)[on_face] > 0
    assert facing.float().mean() > 0.99  # all but the insides of the nostrils
    for name in ("left_eye", "right_eye", "left_ear", "right_ear", "tongue", "upper_gum", "shirt", "collar"):
        s = part(head, name)
        inside = corners[(head.triangles >= s.start).all(1) & (head.triangles < s.stop).all(1)]
        local = inside - inside.mean((0, 1))
        assert torch.linalg.det(local).sum() > 0, name


def test_face_region_is_the_front(head, neutral):
    face = neutral[head.face_region]
    assert 2000 < len(face) < 15000
    assert len(set(head.face_region.tolist())) == len(face)
    assert face[:, 2].min() > -0.6
    assert (head.head_weights[head.face_region] == 1).all()


def test_shoulders_stay_and_the_neck_blends(head, neutral):
    assert (head.head_weights[part(head, "shirt")] == 0).all()
    skin, weight = neutral[part(head, "skin")], head.head_weights[part(head, "skin")]
    assert (weight[skin[:, 1] > head.neck_pivot[1] + 0.5] == 1).all()
    assert ((weight > 0.05) & (weight < 0.95)).sum() > 500


@pytest.mark.parametrize("index", range(52))
def test_each_expression_moves_the_face_and_not_the_back_of_the_head(head, neutral, index):
    name = head.expression_names[index]
    moved = (shape(head, **{name: 1.0, **({"jawOpen": 1.0} if name == "mouthClose" else {})}) - neutral).norm(dim=1)
    assert moved.max() > 0.01, name
    back = neutral[:, 2] < BACK_OF_HEAD
    assert moved[back].max() < 1e-6, name
    assert moved[part(head, "shirt")].max() == 0
    assert torch.isfinite(moved).all()


# Component, landmark, axis, sign and least movement in dm.
DIRECTIONS = [
    ("jawOpen", 8, 1, -1, 0.25), ("jawForward", 8, 2, 1, 0.05),
    ("jawLeft", 8, 0, 1, 0.05), ("jawRight", 8, 0, -1, 0.05),
    ("mouthSmileLeft", 54, 1, 1, 0.04), ("mouthSmileLeft", 54, 0, 1, 0.04), ("mouthSmileRight", 48, 0, -1, 0.04),
    ("mouthFrownLeft", 54, 1, -1, 0.04), ("mouthFrownRight", 48, 1, -1, 0.04),
    ("mouthPucker", 54, 0, -1, 0.05), ("mouthPucker", 48, 0, 1, 0.05), ("mouthPucker", 51, 2, 1, 0.04),
    ("mouthFunnel", 57, 2, 1, 0.04), ("mouthLeft", 51, 0, 1, 0.05), ("mouthRight", 57, 0, -1, 0.05),
    ("mouthUpperUpLeft", 52, 1, 1, 0.03), ("mouthUpperUpRight", 50, 1, 1, 0.03),
    ("mouthLowerDownLeft", 56, 1, -1, 0.03), ("mouthLowerDownRight", 58, 1, -1, 0.03),
    ("mouthStretchLeft", 54, 0, 1, 0.04), ("mouthDimpleRight", 48, 0, -1, 0.03),
    ("mouthRollUpper", 62, 2, -1, 0.02), ("mouthRollLower", 66, 2, -1, 0.02), ("mouthShrugLower", 57, 1, 1, 0.02),
    ("mouthShrugUpper", 51, 1, 1, 0.02),
    ("browDownLeft", 23, 1, -1, 0.03), ("browDownRight", 20, 1, -1, 0.03), ("browInnerUp", 21, 1, 1, 0.04),
    ("browInnerUp", 22, 1, 1, 0.04), ("browOuterUpLeft", 25, 1, 1, 0.04), ("browOuterUpRight", 18, 1, 1, 0.04),
    ("noseSneerLeft", 35, 1, 1, 0.015), ("noseSneerRight", 31, 1, 1, 0.015),
    ("eyeWideLeft", 43, 1, 1, 0.005), ("eyeSquintRight", 41, 1, 1, 0.005),
]  # fmt: skip


@pytest.mark.parametrize(("name", "landmark", "axis", "sign", "least"), DIRECTIONS)
def test_expressions_move_landmarks_as_named(head, neutral, name, landmark, axis, sign, least):
    moved = (shape(head, **{name: 1.0}) - neutral)[head.landmarks[landmark], axis]
    assert sign * moved > least


@pytest.mark.parametrize("name", ["mouthSmile", "browOuterUp", "eyeBlink", "noseSneer", "mouthLowerDown"])
def test_sides_mirror_each_other(head, name):
    skin = part(head, "skin")
    mirror = torch.from_numpy(head._template.head.mirror)
    left, right = shape(head, **{name + "Left": 1.0})[skin], shape(head, **{name + "Right": 1.0})[skin]
    torch.testing.assert_close(left[mirror] * torch.tensor([-1.0, 1, 1]), right, atol=1e-5, rtol=0)


def test_cheeks_move_outwards_and_upwards(head, neutral):
    cheek = (neutral - (neutral[head.landmarks[54]] + torch.tensor([0.2, 0.05, -0.15]))).norm(dim=1).argmin()
    assert (shape(head, cheekPuff=1.0) - neutral)[cheek, 0] > 0.03
    below_eye = (neutral - (neutral[head.landmarks[46]] + torch.tensor([0.0, -0.2, 0.0]))).norm(dim=1).argmin()
    assert (shape(head, cheekSquintLeft=1.0) - neutral)[below_eye, 1] > 0.03


def lid_gap(head, vertices):
    marks = vertices[head.landmarks]
    return (marks[[37, 38, 43, 44]] - marks[[41, 40, 47, 46]]).norm(dim=1)


def test_blink_closes_the_eyes(head, neutral):
    closed = lid_gap(head, shape(head, **both("eyeBlink")))
    assert (lid_gap(head, neutral) > 0.07).all()
    assert (closed < 0.02).all()
    # A full blink closes exactly, whatever the other components of the lids say.
    torch.testing.assert_close(
        lid_gap(head, shape(head, **both("eyeBlink"), **both("eyeWide"), **both("eyeSquint"))),
        closed,
        atol=0.02,
        rtol=0,
    )


@pytest.mark.parametrize("amount", [0.25, 0.5, 0.75, 1.0])
def test_lids_never_sink_into_the_eye(head, amount):
    vertices = shape(head, **both("eyeBlink", amount))
    template = head._template
    centre = torch.tensor([0.315, 0.0, 0.02], dtype=torch.float64) - torch.from_numpy(template.origin)
    lids = torch.from_numpy(template.head.left_eye.vertices[:17].ravel())
    assert (vertices[lids].double() - centre).norm(dim=1).min() > 0.122


def test_gaze_turns_the_eyes_rigidly(head, neutral):
    eye = part(head, "left_eye")
    pupil = eye.start  # the first vertex lies on the optical axis
    for name, axis, sign in (("Up", 1, 1), ("Down", 1, -1), ("In", 0, -1), ("Out", 0, 1)):
        turned = shape(head, **{f"eyeLook{name}Left": 1.0})
        assert sign * (turned - neutral)[pupil, axis] > 0.03, name
        assert (turned - neutral)[part(head, "right_eye")].abs().max() == 0
        before, after = neutral[eye], turned[eye]
        torch.testing.assert_close((after[1:] - after[0]).norm(dim=1), (before[1:] - before[0]).norm(dim=1))


def test_jaw_carries_lower_teeth_only(head, neutral):
    moved = (shape(head, jawOpen=1.0) - neutral).norm(dim=1)
    assert moved[part(head, "upper_tooth_0_1")].max() == 0
    assert moved[part(head, "lower_tooth_0_1")].min() > 0.2
    gap = neutral[head.landmarks[62], 1] - shape(head, jawOpen=1.0)[head.landmarks[66], 1]
    assert 0.2 < gap < 0.5  # 20 to 50 mm between the lips


def test_mouth_close_keeps_the_lips_together_over_an_open_jaw(head, neutral):
    inner = head.landmarks[[61, 62, 63]], head.landmarks[[67, 66, 65]]

    def gap(vertices):
        return (vertices[inner[0]] - vertices[inner[1]]).norm(dim=1).max()

    assert gap(shape(head, jawOpen=0.6)) > 0.15
    assert gap(shape(head, jawOpen=0.6, mouthClose=1.0)) < 0.03
    chin = head.landmarks[8]
    assert (shape(head, jawOpen=0.6, mouthClose=1.0) - neutral)[chin, 1] < -0.15
    assert (shape(head, mouthClose=1.0) - neutral).abs().max() < 1e-6


def test_brows_and_lashes_ride_on_the_skin(head, neutral):
    count = len(head._template.vertices)
    hair, brows, lashes = (len(s.uvs) for s in head._strands)
    lash = slice(count + hair + brows, count + hair + brows + lashes)
    moved = (shape(head, **both("eyeBlink")) - neutral)[lash]
    assert moved[:, 1].min() < -0.05  # upper lashes come down with the lid
    brow = slice(count + hair, count + hair + brows)
    assert (shape(head, browInnerUp=1.0) - neutral)[brow, 1].max() > 0.04
    assert (shape(head, jawOpen=1.0) - neutral)[count : count + hair].abs().max() < 1e-6


def test_identity_moves_what_it_names(head, neutral):
    def change(name):
        identity = torch.zeros(head.identity_size)
        identity[head.identity_names.index(name)] = 2.0
        return shape(head, identity) - neutral

    marks = head.landmarks
    assert change("mouth_width")[marks[54], 0] > 0.02
    assert change("nose_length")[marks[30], 1] < -0.02
    assert change("nose_width")[marks[35], 0] > 0.015
    assert change("jaw_width")[marks[12], 0] > 0.03
    assert change("eye_spacing")[part(head, "left_eye"), 0].min() > 0.02
    assert change("ear_size")[part(head, "left_ear")].norm(dim=1).max() > 0.04
    for name in ("skin_tone", "hair_tone"):
        assert change(name).abs().max() == 0
    assert change("hair_style")[: len(head._template.vertices)].abs().max() == 0
    assert change("hair_style").abs().max() > 0.05


def test_eyes_stay_round_for_any_identity(head):
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        eye = shape(head, torch.randn(head.identity_size, generator=generator))[part(head, "left_eye")]
        ball = eye[-300:]  # behind the cornea
        centre = torch.linalg.lstsq(
            torch.cat([2 * ball, torch.ones(len(ball), 1)], dim=1), (ball**2).sum(1, keepdim=True)
        ).solution[:3, 0]
        radius = (ball - centre).norm(dim=1)
        assert (radius.max() - radius.min()) / radius.mean() < 0.02


def test_gradients_match_finite_differences(head):
    generator = torch.Generator().manual_seed(1)
    chosen = torch.randint(len(head._template.vertices), (40,), generator=generator)
    chosen = torch.cat([chosen, head.landmarks, torch.tensor([part(head, "left_eye").start])])

    def of_expression(identity, expression):
        return head.vertices(identity, expression)[chosen]

    identity = (torch.randn(head.identity_size, generator=generator, dtype=torch.float64) * 0.5).requires_grad_()
    expression = (
        torch.rand(len(head.expression_names), generator=generator, dtype=torch.float64) * 0.5
    ).requires_grad_()
    assert torch.autograd.gradcheck(of_expression, (identity, expression), fast_mode=True)


def test_gradients_are_finite_at_neutral(head):
    expression = torch.zeros(len(head.expression_names), requires_grad=True)
    head.vertices(torch.zeros(head.identity_size), expression).square().sum().backward()
    assert torch.isfinite(expression.grad).all()
    assert (expression.grad != 0).sum() > 40


def test_appearance_covers_every_triangle(head):
    appearance = head.appearance(torch.zeros(head.identity_size), 0)
    assert appearance.triangle_uvs.shape == tuple(head.triangles.shape)
    assert appearance.triangle_materials.shape == (len(head.triangles),)
    assert appearance.triangle_uvs.max() < len(appearance.uvs)
    assert appearance.uvs.dtype == np.float32
    assert appearance.uvs.min() >= 0
    assert appearance.uvs.max() <= 1
    names = [m.name for m in appearance.materials]
    assert set(np.unique(appearance.triangle_materials)) == set(range(len(names)))
    assert {"skin", "eye", "teeth", "mouth", "cloth", "hair"} <= set(names)
    for material in appearance.materials:
        assert material.texture.dtype == np.uint8
        assert material.texture.ndim == 3
        assert material.two_sided == (material.name in ("hair", "brows", "lashes"))


def colour_at(head, appearance, vertex):
    """Texture colour at a vertex of the skin."""
    triangle, corner = (head.triangles == vertex).nonzero()[0].tolist()
    u, v = appearance.uvs[appearance.triangle_uvs[triangle, corner]]
    texture = appearance.materials[appearance.triangle_materials[triangle]].texture
    size = len(texture)
    return texture[min(int((1 - v) * size), size - 1), min(int(u * size), size - 1)].astype(float) / 255


def test_paint_lies_where_it_belongs():
    head = ProceduralHead(texture_size=512, hair_strands=10)
    appearance = head.appearance(torch.zeros(head.identity_size), 0)
    neutral = shape(head)

    def nearest(point):
        skin = neutral[part(head, "skin")]
        return int((skin - torch.as_tensor(point, dtype=torch.float32)).norm(dim=1).argmin())

    marks = neutral[head.landmarks]
    cheek = colour_at(head, appearance, nearest(marks[46] + torch.tensor([0.05, -0.35, 0.0])))
    lip = colour_at(head, appearance, nearest((marks[57] + marks[66]) / 2))
    crown = colour_at(head, appearance, nearest([0.0, 1.4, -0.8]))
    assert lip[1] / lip[0] < cheek[1] / cheek[0]  # redder
    assert crown.sum() < 0.5 * cheek.sum()  # hair
    dark = torch.zeros(head.identity_size)
    dark[head.identity_names.index("skin_tone")] = 2.0
    assert colour_at(head, head.appearance(dark, 0), nearest([0.0, 0.75, 0.2])).sum() < 0.75 * cheek.sum()
