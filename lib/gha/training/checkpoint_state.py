"""Optimisers as plain named tensors, so that a resumed run continues exactly.

Random generators need no saving: what is drawn at a step is a function of seed and step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from gha.errors import CheckpointError

NamedParameters = Iterable[tuple[str, Tensor]]


def flatten_optimizer_state(optimizer: Optimizer, named_parameters: NamedParameters) -> dict[str, Tensor]:
    """The moments of an optimiser by parameter name, for example ``"feature:exp_avg"``.

    Learning rates are not part of it: they are a function of the step.

    Args:
        optimizer: Adam or any optimiser whose state per parameter is tensors and numbers.
        named_parameters: ``model.named_parameters()``, or the pairs of several models under unique names.
    """
    names = _names_by_identity(optimizer, named_parameters)
    flat = {}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            flat[f"{names[id(parameter)]}:{key}"] = _as_tensor(value)
    return flat


def restore_optimizer_state(
    optimizer: Optimizer, named_parameters: NamedParameters, flat: Mapping[str, Tensor]
) -> None:
    """Put the result of :func:`flatten_optimizer_state` into an optimiser over parameters of the same names.

    Moments go to the device and precision of their parameter; learning rates stay as they are.

    Raises:
        CheckpointError: a name is not among the optimiser's parameters, or a shape differs.
    """
    names = _names_by_identity(optimizer, named_parameters)
    states = _group_by_parameter(flat)
    unknown = sorted(set(states) - set(names.values()))
    if unknown:
        raise CheckpointError(
            f"the checkpoint's optimiser state is for {', '.join(unknown)}, which this optimiser does not hold; "
            f"it holds {', '.join(sorted(names.values()))}"
        )
    plain = optimizer.state_dict()
    plain["state"] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, parameter in enumerate(parameters):
        name = names[id(parameter)]
        if name in states:
            plain["state"][index] = _check_shapes(name, parameter, states[name])
    optimizer.load_state_dict(plain)


def _names_by_identity(optimizer: Optimizer, named_parameters: NamedParameters) -> dict[int, str]:
    """Names of the optimiser's parameters by ``id``; every one must have a name."""
    every_name = {id(parameter): name for name, parameter in named_parameters}
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    nameless = [list(parameter.shape) for parameter in held if id(parameter) not in every_name]
    if nameless:
        raise CheckpointError(f"the optimiser holds parameters that were given no name, of shapes {nameless}")
    return {id(parameter): every_name[id(parameter)] for parameter in held}


def _group_by_parameter(flat: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """``{"name:key": tensor}`` to ``{"name": {"key": tensor}}``."""
    states: dict[str, dict[str, Tensor]] = {}
    for full_name, value in flat.items():
        name, _, key = full_name.rpartition(":")
        states.setdefault(name, {})[key] = value
    return states


def _check_shapes(name: str, parameter: Tensor, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """A copy of the state of one parameter, refused if a moment has another shape than the parameter."""
    for key, value in state.items():
        if value.ndim > 0 and value.shape != parameter.shape:
            raise CheckpointError(
                f"optimiser state {name}:{key} has shape {list(value.shape)} in the checkpoint, "
                f"the parameter has {list(parameter.shape)}"
            )
    return {key: _restored(value) for key, value in state.items()}


def _restored(value: Tensor) -> Tensor | int | float:
    """A copy of one entry of the state; plain numbers as plain numbers (see :func:`_as_tensor`)."""
    if value.ndim:
        return value.clone()
    # Step counters start on the host, where the optimiser keeps them unless it is fused: reading one must not sync.
    return value.item() if value.dtype in (torch.int64, torch.float64) else value.cpu().clone()


def _as_tensor(value: Tensor | float) -> Tensor:
    """Plain numbers as int64 or float64, which no optimiser uses for tensors of its own.

    They must come back as numbers: arithmetic with a tensor rounds differently, and training would not continue
    exactly.
    """
    if isinstance(value, Tensor):
        return value
    return torch.tensor(value, dtype=torch.int64 if isinstance(value, int) else torch.float64)
