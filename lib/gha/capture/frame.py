"""One timestep of a recording, as the networks see it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gha.faces.code import HeadCode
from gha.geometry import Camera

_PICTURES = ("image", "mask", "visible")


@dataclass(frozen=True)
class Frame:
    """One timestep seen by V cameras, or a batch of such timesteps (leading dimension B on every tensor).

    Attributes:
        image: [V, 3, H, W]; uint8 on the host, float in [0, 1] after :meth:`to`. The recorded background stays in, but
            partly covered pixels show the subject alone where a picture of the empty stage is there.
        mask: [V, 1, H, W], foreground alpha, same range as ``image``.
        visible: [V, 1, H, W], where the pixel comes from the sensor, same range as ``image``.
        camera: V cameras of the image size.
        code: driving parameters without the V dimension.
        landmarks: tracked points in world space [L, 3]: 66 or 68 facial landmarks, then sampled face-region points.
        frame_id: name of the timestep; a list of B names when batched.
        camera_ids: names of the V cameras; a tuple of B such tuples when batched.
    """

    image: Tensor
    mask: Tensor
    visible: Tensor
    camera: Camera
    code: HeadCode
    landmarks: Tensor
    frame_id: str | list[str]
    camera_ids: tuple[str, ...] | tuple[tuple[str, ...], ...]

    def to(self, device: torch.device | str) -> Frame:
        """Move to a device, without waiting for what it still has to do, and turn uint8 into floats in [0, 1]."""
        return self.sent(device).in_floats()

    def sent(self, device: torch.device | str) -> Frame:
        """The same on a device, without waiting for what that still has to do."""
        # Towards the host nobody would know when a copy has arrived.
        ahead = torch.device(device).type != "cpu"
        moved = {name: getattr(self, name).to(device, non_blocking=ahead) for name in (*_PICTURES, "landmarks")}
        camera, code = (x.to(device, non_blocking=ahead) for x in (self.camera, self.code))
        return replace(self, camera=camera, code=code, **moved)

    def in_floats(self) -> Frame:
        """Pictures as floats in [0, 1] instead of uint8."""
        pictures = {name: getattr(self, name) for name in _PICTURES}
        return replace(self, **{name: x.float() / 255 if x.dtype == torch.uint8 else x for name, x in pictures.items()})
