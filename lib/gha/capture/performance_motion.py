"""Motion in continuous time: speech, faces held one after another, eyes and head. All pure functions of a seed."""

from __future__ import annotations

import numpy as np

from .performance_tables import ARKIT_NAMES, EMOTIONS, EXTREMES, VISEMES, Face, face_vector

MAX_TURN = np.radians([12.0, 20.0, 9.0])  # nod, turn, tilt
MAX_SHIFT = 0.10  # decimetres

# Times are float64 [T] in seconds; faces are float64 [T, 52].


def smooth_noise(times: np.ndarray, channels: int, period: float, rng: np.random.Generator) -> np.ndarray:
    """Slow random motion [T, channels] that stays within about [-1, 1]; ``period`` in seconds."""
    waves = 4
    rate = 2 * np.pi / (period * np.exp(rng.uniform(-0.35, 0.5, (waves, channels))))
    phase, size = rng.uniform(0, 2 * np.pi, (waves, channels)), rng.uniform(0.5, 1.0, (waves, channels))
    wave = np.sin(times[:, None, None] * rate + phase) * size
    return np.tanh(1.2 * wave.sum(1) / np.sqrt((size**2).sum(0)))


def head_motion(times: np.ndarray, amount: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Axis-angle [T, 3] about the neck and shift [T, 3] in decimetres; ``amount`` 1 reaches :data:`MAX_TURN`."""
    rng = np.random.default_rng([seed, 1])
    turn = smooth_noise(times, 3, 4.5, rng) * MAX_TURN * amount
    return turn, smooth_noise(times, 3, 5.0, rng) * MAX_SHIFT * amount


def speech(times: np.ndarray, seed: int) -> np.ndarray:
    """Syllables at four to six a second in phrases with pauses; neighbouring sounds blend."""
    rng = np.random.default_rng([seed, 2])
    sounds, starts, now = [], [], 0.0
    vowels, consonants = ["aa", "ee", "eh", "oh", "oo"], ["m", "f", "l", "s", "sh", "w"]
    end = times.max(initial=0.0) + 1.0
    while now < end:
        for _ in range(rng.integers(3, 9)):
            for group in (consonants, vowels):
                sounds.append(np.array(face_vector(VISEMES[str(rng.choice(group))])) * rng.uniform(0.75, 1.15))
                starts.append(now)
                now += rng.uniform(0.07, 0.14)
        sounds.append(np.zeros(len(ARKIT_NAMES)))
        starts.append(now + 0.1)
        now += rng.uniform(0.25, 0.6)
    distance = (times[:, None] - np.array(starts)[None]) / 0.065
    weight = np.exp(-0.5 * distance**2) + 1e-9
    return (weight / weight.sum(1, keepdims=True)) @ np.array(sounds)


def hold_faces(times: np.ndarray, faces: tuple[Face, ...], seconds: float, seed: int, start: int = 0) -> np.ndarray:
    """One face after another, each reached, held and left for the next; every second one a little weaker."""
    rng = np.random.default_rng([seed, 3])
    vectors = np.array([face_vector(face) for face in faces])
    position = times / seconds
    index = np.floor(position).astype(int)
    strength = rng.uniform(0.8, 1.0, index.max(initial=0) + 2)[:, None]
    now, before = (vectors[(start + i) % len(faces)] * strength[np.maximum(i, 0)] for i in (index, index - 1))
    before = np.where(index[:, None] > 0, before, 0.0)
    blend = np.clip((position - index) / 0.45, 0, 1)[:, None]
    blend = blend * blend * (3 - 2 * blend)
    return before * (1 - blend) + now * blend


def extremes(times: np.ndarray, seconds: float, seed: int) -> np.ndarray:
    """All extreme faces in turn."""
    return hold_faces(times, EXTREMES, seconds, seed)


def emotions(times: np.ndarray, seed: int) -> np.ndarray:
    """Emotions that come and go, with some life in them."""
    held = hold_faces(times, EMOTIONS, 1.6, seed, start=seed % len(EMOTIONS))
    swell = 0.75 + 0.25 * smooth_noise(times, 1, 2.0, np.random.default_rng([seed, 4]))
    return held * swell


def eyes(times: np.ndarray, amount: float, seed: int) -> np.ndarray:
    """Gaze that jumps and rests, brows and lids that follow it, and blinks."""
    rng = np.random.default_rng([seed, 5])
    end = times.max(initial=0.0) + 1.0
    jumps = np.cumsum(rng.uniform(0.35, 1.3, int(end / 0.35) + 2))
    targets = rng.uniform(-1, 1, (len(jumps) + 1, 2)) * amount
    index = np.searchsorted(jumps, times)
    since = times - np.concatenate([[0.0], jumps])[index]
    blend = np.clip(since / 0.06, 0, 1)[:, None]
    gaze = targets[np.maximum(index - 1, 0)] * (1 - blend) + targets[index] * blend
    left, up = gaze.T
    values = {
        "eyeLookOutLeft": left, "eyeLookInRight": left, "eyeLookInLeft": -left, "eyeLookOutRight": -left,
        "eyeLookUpLeft": up, "eyeLookUpRight": up, "eyeLookDownLeft": -up, "eyeLookDownRight": -up,
        "browInnerUp": 0.5 * (up - 0.3), "browOuterUpLeft": 0.35 * (up - 0.3), "browOuterUpRight": 0.35 * (up - 0.3),
    }  # fmt: skip
    blink = blinks(times, rng)
    values |= {"eyeBlinkLeft": blink, "eyeBlinkRight": blink}
    out = np.zeros((len(times), len(ARKIT_NAMES)))
    for name, value in values.items():
        out[:, ARKIT_NAMES.index(name)] = np.maximum(value, 0)
    return out


def blinks(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Closure of the lids [T] in [0, 1]: a blink every few seconds, down in 0.1 s, up in 0.2 s."""
    count = int((times.max(initial=0.0) + 4.0) / 1.8) + 2
    moments = np.cumsum(rng.uniform(1.8, 4.5, count)) - 1.0
    since = times[:, None] - moments[None]
    shape = np.minimum(np.clip(1 + since / 0.10, 0, 1), np.clip(1 - (since - 0.05) / 0.20, 0, 1))
    return shape.max(1)


def together(*faces: np.ndarray) -> np.ndarray:
    """Faces [T, 52] at once: sums, kept within [0, 1]; a closed eye does not widen, a gaze goes one way."""
    total = np.clip(sum(faces), 0, 1)
    for side in ("Left", "Right"):
        blink, wide, squint = (ARKIT_NAMES.index(f"eye{what}{side}") for what in ("Blink", "Wide", "Squint"))
        total[:, wide] *= 1 - total[:, blink]
        total[:, squint] *= 1 - 0.7 * total[:, blink]
        for one, other in (("In", "Out"), ("Up", "Down")):
            first, second = (ARKIT_NAMES.index(f"eyeLook{way}{side}") for way in (one, other))
            shared = np.minimum(total[:, first], total[:, second])
            total[:, first] -= shared
            total[:, second] -= shared
    return total
