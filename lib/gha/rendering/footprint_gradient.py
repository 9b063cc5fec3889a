"""The gradient of ``projection.footprint`` and of the inverse covariance, written out for one Gaussian."""

from __future__ import annotations

from typing import Any


def footprint_gradient(
    quat: Any, scale: Any, pose: Any, magnification: Any, slope: Any, low_pass: Any, conic: Any, one: Any
) -> tuple:
    """From the gradient of a conic to those of quaternion, scales, slopes and the logarithm of depth.

    Nothing but arithmetic, like ``footprint``, whose arguments these are: compiled for single numbers by numba and
    for blocks of them by Triton. ``conic`` is the gradient of the inverse covariance, as (xx, xy, yy).
    """
    w, x, y, z = quat
    p0, p1, p2, p3, p4, p5, p6, p7, p8 = pose
    two = one + one
    inverse = one / (w * w + x * x + y * y + z * z)
    k = two * inverse
    r00, r01, r02 = one - k * (y * y + z * z), k * (x * y - w * z), k * (x * z + w * y)
    r10, r11, r12 = k * (x * y + w * z), one - k * (x * x + z * z), k * (y * z - w * x)
    r20, r21, r22 = k * (x * z - w * y), k * (y * z + w * x), one - k * (x * x + y * y)
    # The third components of the axes a, b, c in camera space; the others as they show on the screen, without length.
    az, bz, cz = p6 * r00 + p7 * r10 + p8 * r20, p6 * r01 + p7 * r11 + p8 * r21, p6 * r02 + p7 * r12 + p8 * r22
    plain_ax, plain_ay = p0 * r00 + p1 * r10 + p2 * r20 - slope[0] * az, p3 * r00 + p4 * r10 + p5 * r20 - slope[1] * az
    plain_bx, plain_by = p0 * r01 + p1 * r11 + p2 * r21 - slope[0] * bz, p3 * r01 + p4 * r11 + p5 * r21 - slope[1] * bz
    plain_cx, plain_cy = p0 * r02 + p1 * r12 + p2 * r22 - slope[0] * cz, p3 * r02 + p4 * r12 + p5 * r22 - slope[1] * cz
    ax, ay = magnification[0] * scale[0] * plain_ax, magnification[1] * scale[0] * plain_ay
    bx, by = magnification[0] * scale[1] * plain_bx, magnification[1] * scale[1] * plain_by
    cx, cy = magnification[0] * scale[2] * plain_cx, magnification[1] * scale[2] * plain_cy
    variance_x = ax * ax + bx * bx + cx * cx + low_pass
    variance_y = ay * ay + by * by + cy * cy + low_pass
    u, v, t = bx * cy - cx * by, cx * ay - ax * cy, ax * by - bx * ay
    scaled = one / (u * u + v * v + t * t + low_pass * (variance_x + variance_y - low_pass))
    xx, xy, yy = variance_y * scaled, -(ax * ay + bx * by + cx * cy) * scaled, variance_x * scaled
    # Of the covariance: -Q G Q for its inverse Q.
    gxx, gxy, gyy = conic[0], conic[1] / two, conic[2]
    left_x, right_x = xx * gxx + xy * gxy, xx * gxy + xy * gyy
    left_y, right_y = xy * gxx + yy * gxy, xy * gxy + yy * gyy
    of_xx = -two * (left_x * xx + right_x * xy)
    of_xy = -two * (left_x * xy + right_x * yy)
    of_yy = -two * (left_y * xy + right_y * yy)
    # Of the axes on the screen.
    of_ax, of_bx, of_cx = of_xx * ax + of_xy * ay, of_xx * bx + of_xy * by, of_xx * cx + of_xy * cy
    of_ay, of_by, of_cy = of_yy * ay + of_xy * ax, of_yy * by + of_xy * bx, of_yy * cy + of_xy * cx
    of_log_depth = -(of_ax * ax + of_ay * ay + of_bx * bx + of_by * by + of_cx * cx + of_cy * cy)
    of_ax, of_bx, of_cx = of_ax * magnification[0], of_bx * magnification[0], of_cx * magnification[0]
    of_ay, of_by, of_cy = of_ay * magnification[1], of_by * magnification[1], of_cy * magnification[1]
    of_scale_a, of_scale_b = of_ax * plain_ax + of_ay * plain_ay, of_bx * plain_bx + of_by * plain_by
    of_scale_c = of_cx * plain_cx + of_cy * plain_cy
    # Of the axes in camera space, then in the world (the columns of the rotation).
    of_ax, of_bx, of_cx = of_ax * scale[0], of_bx * scale[1], of_cx * scale[2]
    of_ay, of_by, of_cy = of_ay * scale[0], of_by * scale[1], of_cy * scale[2]
    of_slope_x = -(of_ax * az + of_bx * bz + of_cx * cz)
    of_slope_y = -(of_ay * az + of_by * bz + of_cy * cz)
    of_az, of_bz = -(of_ax * slope[0] + of_ay * slope[1]), -(of_bx * slope[0] + of_by * slope[1])
    of_cz = -(of_cx * slope[0] + of_cy * slope[1])
    a0, b0, c0 = (
        p0 * of_ax + p3 * of_ay + p6 * of_az,
        p0 * of_bx + p3 * of_by + p6 * of_bz,
        p0 * of_cx + p3 * of_cy + p6 * of_cz,
    )
    a1, b1, c1 = (
        p1 * of_ax + p4 * of_ay + p7 * of_az,
        p1 * of_bx + p4 * of_by + p7 * of_bz,
        p1 * of_cx + p4 * of_cy + p7 * of_cz,
    )
    a2, b2, c2 = (
        p2 * of_ax + p5 * of_ay + p8 * of_az,
        p2 * of_bx + p5 * of_by + p8 * of_bz,
        p2 * of_cx + p5 * of_cy + p8 * of_cz,
    )
    of_w = two * (z * (a1 - b0) + y * (c0 - a2) + x * (b2 - c1))
    of_x = two * (y * (b0 + a1) + z * (c0 + a2) + w * (b2 - c1) - two * x * (b1 + c2))
    of_y = two * (x * (b0 + a1) + z * (c1 + b2) + w * (c0 - a2) - two * y * (a0 + c2))
    of_z = two * (x * (c0 + a2) + y * (c1 + b2) + w * (a1 - b0) - two * z * (a0 + b1))
    along = (w * of_w + x * of_x + y * of_y + z * of_z) * inverse  # has no effect: the length does not matter
    of_quat = (
        (of_w - w * along) * inverse,
        (of_x - x * along) * inverse,
        (of_y - y * along) * inverse,
        (of_z - z * along) * inverse,
    )
    return of_quat, (of_scale_a, of_scale_b, of_scale_c), (of_slope_x, of_slope_y), of_log_depth
