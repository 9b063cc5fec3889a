"""The gradient of ``projection.footprint`` and of the inverse covariance, written out for one Gaussian."""

from __future__ import annotations

import math

import numpy as np

from .numba_compile import njit

_ONE, _TWO, _HALF = np.float32(1), np.float32(2), np.float32(0.5)


@njit
def footprint_gradient(quat: tuple, scale: tuple, pose: tuple, view: tuple, low_pass: float, conic: tuple) -> tuple:
    """From the gradient of a conic to those of quaternion, scales, slopes and the logarithm of depth.

    ``view`` holds the magnifications along x and y and the clamped slopes.
    """
    norm = _ONE / np.float32(math.sqrt(quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3]))
    w, x, y, z = quat[0] * norm, quat[1] * norm, quat[2] * norm, quat[3] * norm
    a = (_ONE - _TWO * (y * y + z * z), _TWO * (x * y + w * z), _TWO * (x * z - w * y))
    b = (_TWO * (x * y - w * z), _ONE - _TWO * (x * x + z * z), _TWO * (y * z + w * x))
    c = (_TWO * (x * z + w * y), _TWO * (y * z - w * x), _ONE - _TWO * (x * x + y * y))
    screen_a, screen_b, screen_c = (
        _screen_axis(a, scale[0], pose, view),
        _screen_axis(b, scale[1], pose, view),
        _screen_axis(c, scale[2], pose, view),
    )
    covariance = _covariance_gradient(screen_a, screen_b, screen_c, low_pass, conic)
    turn_a, scale_a, slope_ax, slope_ay, depth_a = _axis_gradient(screen_a, scale[0], pose, view, covariance)
    turn_b, scale_b, slope_bx, slope_by, depth_b = _axis_gradient(screen_b, scale[1], pose, view, covariance)
    turn_c, scale_c, slope_cx, slope_cy, depth_c = _axis_gradient(screen_c, scale[2], pose, view, covariance)
    of_quat = _quaternion_gradient((w, x, y, z), norm, turn_a, turn_b, turn_c)
    of_slope = (slope_ax + slope_bx + slope_cx, slope_ay + slope_by + slope_cy)
    return of_quat, (scale_a, scale_b, scale_c), of_slope, depth_a + depth_b + depth_c


@njit
def _screen_axis(axis: tuple, scale: float, pose: tuple, view: tuple) -> tuple:
    """An axis of a Gaussian on the screen (x, y); without its length and magnification; and its z in camera space."""
    x = pose[0] * axis[0] + pose[1] * axis[1] + pose[2] * axis[2]
    y = pose[3] * axis[0] + pose[4] * axis[1] + pose[5] * axis[2]
    z = pose[6] * axis[0] + pose[7] * axis[1] + pose[8] * axis[2]
    plain_x, plain_y = x - view[2] * z, y - view[3] * z
    return view[0] * scale * plain_x, view[1] * scale * plain_y, plain_x, plain_y, z


@njit
def _covariance_gradient(a: tuple, b: tuple, c: tuple, low_pass: float, conic: tuple) -> tuple[float, float, float]:
    """Gradients of variance along x, covariance and variance along y: -Q G Q for the inverse Q of the covariance."""
    variance_x = a[0] * a[0] + b[0] * b[0] + c[0] * c[0] + low_pass
    variance_y = a[1] * a[1] + b[1] * b[1] + c[1] * c[1] + low_pass
    covariance = a[0] * a[1] + b[0] * b[1] + c[0] * c[1]
    u, v, t = b[0] * c[1] - c[0] * b[1], c[0] * a[1] - a[0] * c[1], a[0] * b[1] - b[0] * a[1]
    scaled = _ONE / (u * u + v * v + t * t + low_pass * (variance_x + variance_y - low_pass))
    xx, xy, yy = variance_y * scaled, -covariance * scaled, variance_x * scaled
    gxx, gxy, gyy = conic[0], _HALF * conic[1], conic[2]
    left_x, right_x = xx * gxx + xy * gxy, xx * gxy + xy * gyy
    left_y, right_y = xy * gxx + yy * gxy, xy * gxy + yy * gyy
    return (
        -(left_x * xx + right_x * xy),
        -_TWO * (left_x * xy + right_x * yy),
        -(left_y * xy + right_y * yy),
    )


@njit
def _axis_gradient(screen: tuple, scale: float, pose: tuple, view: tuple, covariance: tuple) -> tuple:
    """What flows through one axis: gradients of the axis in the world, its scale, both slopes, the log of depth."""
    x, y, plain_x, plain_y, z = screen
    of_x = _TWO * covariance[0] * x + covariance[1] * y
    of_y = _TWO * covariance[2] * y + covariance[1] * x
    plain_of_x, plain_of_y = of_x * view[0], of_y * view[1]
    camera_x, camera_y = plain_of_x * scale, plain_of_y * scale
    camera_z = -(camera_x * view[2] + camera_y * view[3])
    turn = (
        pose[0] * camera_x + pose[3] * camera_y + pose[6] * camera_z,
        pose[1] * camera_x + pose[4] * camera_y + pose[7] * camera_z,
        pose[2] * camera_x + pose[5] * camera_y + pose[8] * camera_z,
    )
    of_scale = plain_of_x * plain_x + plain_of_y * plain_y
    return turn, of_scale, -camera_x * z, -camera_y * z, -(of_x * x + of_y * y)


@njit
def _quaternion_gradient(unit: tuple, norm: float, a: tuple, b: tuple, c: tuple) -> tuple:
    """From the gradients of the columns of a rotation to that of its quaternion of length 1 / ``norm``."""
    w, x, y, z = unit
    of_w = _TWO * (z * (a[1] - b[0]) + y * (c[0] - a[2]) + x * (b[2] - c[1]))
    of_x = _TWO * (y * (b[0] + a[1]) + z * (c[0] + a[2]) + w * (b[2] - c[1]) - _TWO * x * (b[1] + c[2]))
    of_y = _TWO * (x * (b[0] + a[1]) + z * (c[1] + b[2]) + w * (c[0] - a[2]) - _TWO * y * (a[0] + c[2]))
    of_z = _TWO * (x * (c[0] + a[2]) + y * (c[1] + b[2]) + w * (a[1] - b[0]) - _TWO * z * (a[0] + b[1]))
    along = w * of_w + x * of_x + y * of_y + z * of_z  # has no effect: the length does not matter
    return (
        (of_w - w * along) * norm,
        (of_x - x * along) * norm,
        (of_y - y * along) * norm,
        (of_z - z * along) * norm,
    )
