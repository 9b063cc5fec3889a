"""Solving the equations of fitting: frames in a chain, bounds on expressions, and steps that never make it worse."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .fitting_equations import Equations, Estimate, Problem, cost_of, linearise

PASSES = 4  # of finding which coefficients stop at a bound
ATTEMPTS = 8  # steps tried before an iteration gives up
FIRST_DAMPING = 1e-3
NOTHING = 1e-9  # damping of what no data and no prior determines


@dataclass(frozen=True)
class Stage:
    """How one stage of fitting went.

    Attributes:
        name: what was sought.
        iterations: taken.
        costs: before the first iteration and after each.
        ended: ``"converged"``, ``"iteration cap"``, or ``"no better step"``, which is convergence to rounding.
    """

    name: str
    iterations: int
    costs: tuple[float, ...]
    ended: str


def minimise(
    problem: Problem, start: Estimate, name: str, free: tuple[bool, bool], iterations: int
) -> tuple[Estimate, Stage]:
    """Levenberg and Marquardt's method with bounds.

    Args:
        problem: what to minimise.
        start: where to begin; within the bounds.
        name: of the stage.
        free: whether expressions, and identity and scale, are sought; poses always are.
        iterations: cap.
    """
    estimate, damping, costs, ended = start, FIRST_DAMPING, [], "iteration cap"
    for _ in range(iterations):
        equations = linearise(problem, estimate, free[1], free[0])
        costs = costs or [equations.cost]
        accepted = None
        for _ in range(ATTEMPTS):
            frames, shared = solve(problem, equations, estimate, damping, free)
            candidate = _within(problem, estimate.moved(frames, shared))
            cost = cost_of(problem, candidate, equations.chosen, free[1])
            if cost < equations.cost:
                accepted = candidate
                damping = max(damping / 6, 1e-7)
                break
            damping *= 8
        if accepted is None:
            ended = "no better step"
            break
        estimate = accepted
        costs.append(cost)
        if equations.cost - cost < problem.config.tolerance * equations.cost:
            ended = "converged"
            break
    return estimate, Stage(name, len(costs) - 1, tuple(costs), ended)


def _within(problem: Problem, estimate: Estimate) -> Estimate:
    limits = problem.limits
    return replace(estimate, expression=torch.clamp(estimate.expression, limits.low, limits.high))


def solve(
    problem: Problem, equations: Equations, at: Estimate, damping: float, free: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """The step of the frames [T, D] and of what they share [S], with coefficients stopping at their bounds."""
    size, count = equations.slope.shape[1], at.expression.shape[1]
    low, high = torch.full_like(equations.slope, -torch.inf), torch.full_like(equations.slope, torch.inf)
    low[:, :count], high[:, :count] = problem.limits.low - at.expression, problem.limits.high - at.expression
    if not free[0]:
        low[:, :count] = high[:, :count] = 0.0
    fixed = low == high
    value = torch.where(fixed, low, torch.zeros_like(low))
    held = problem.tie_strengths().numpy()
    system = _Chain(equations, held, damping, size)
    for _ in range(PASSES if free[0] else 1):
        frames, shared = system.solve(fixed.numpy(), value.numpy())
        step = torch.from_numpy(frames)
        below, above = (step < low) & ~fixed, (step > high) & ~fixed
        if not (below | above).any():
            break
        value = torch.where(below, low, torch.where(above, high, value))
        fixed = fixed | below | above
    shared_step = torch.from_numpy(shared) if free[1] else torch.zeros(len(at.identity) + 1, dtype=torch.float64)
    return torch.minimum(torch.maximum(step, low), high), shared_step


class _Chain:
    """Equations of frames tied to their neighbours, with shared unknowns eliminated last (Schur complement)."""

    def __init__(self, equations: Equations, held: np.ndarray, damping: float, size: int) -> None:
        own = equations.own.numpy().copy()
        diagonal = np.einsum("tii->ti", own)
        diagonal += held
        diagonal[:-1] += held[1:]
        diagonal += damping * diagonal + NOTHING
        self._own, self._held = own, held
        self._mixed = equations.mixed.numpy()
        self._slope = equations.slope.numpy()
        shared = equations.shared.numpy()
        self._shared = shared + np.diag(damping * np.diag(shared) + NOTHING)
        self._shared_slope = equations.shared_slope.numpy()

    def solve(self, fixed: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Steps [T, D] and [S] with ``value`` [T, D] where ``fixed`` [T, D]."""
        known = np.where(fixed, value, 0)
        slope = self._slope + np.einsum("tij,tj->ti", self._own, known)
        slope[1:] -= self._held[1:] * known[:-1]
        slope[:-1] -= self._held[1:] * known[1:]
        shared_slope = self._shared_slope + np.einsum("tds,td->s", self._mixed, known)
        moving = ~fixed
        own = self._own * (moving[:, :, None] & moving[:, None, :])
        np.einsum("tii->ti", own)[fixed] = 1.0
        mixed = self._mixed * moving[:, :, None]
        right = np.concatenate([mixed, (slope * moving)[..., None]], axis=2)
        held = self._held.copy()
        held[1:] *= moving[1:] & moving[:-1]
        solved = _solve_chain(own, held, right)
        by_shared, alone = solved[..., :-1], solved[..., -1]
        shared = np.zeros(0)
        if by_shared.shape[2]:
            complement = self._shared - np.einsum("tds,tde->se", mixed, by_shared)
            shared = -np.linalg.solve(complement, shared_slope - np.einsum("tds,td->s", mixed, alone))
        frames = -(alone + by_shared @ shared)
        return np.where(fixed, value, frames), shared


def _solve_chain(own: np.ndarray, held: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve block-tridiagonal equations: blocks [T, D, D], minus diagonal couplings to the predecessor [T, D]."""
    if not held[1:].any():
        return np.linalg.solve(own, right)
    inverses, sides = np.empty_like(own), np.empty_like(right)
    for t in range(len(own)):
        block, side = own[t], right[t]
        if t and held[t].any():
            block = block - held[t][:, None] * inverses[t - 1] * held[t]
            side = side + held[t][:, None] * (inverses[t - 1] @ sides[t - 1])
        inverses[t], sides[t] = np.linalg.inv(block), side
    result = np.empty_like(right)
    for t in reversed(range(len(own))):
        side = sides[t]
        if t + 1 < len(own) and held[t + 1].any():
            side = side + held[t + 1][:, None] * result[t + 1]
        result[t] = inverses[t] @ side
    return result
