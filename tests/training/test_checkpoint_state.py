import pytest
import torch

from gha.errors import CheckpointError
from gha.training.checkpoint import load_checkpoint, save_checkpoint
from gha.training.checkpoint_state import flatten_optimizer_state, restore_optimizer_state


def make(width=3):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.Linear(width, 1))
    first, second = model
    groups = [{"params": first.parameters(), "lr": 0.1}, {"params": second.parameters(), "lr": 0.01}]
    return model, torch.optim.Adam(groups)


def train(model, optimizer, steps, first=0):
    losses = []
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        loss = (model(torch.randn(4, 2, generator=generator)) ** 2 + torch.rand(4, 1, generator=generator)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_resuming_is_exact(tmp_path):
    model, optimizer = make()
    train(model, optimizer, 5)
    tensors = {
        "model": model.state_dict(),
        "optimizer": flatten_optimizer_state(optimizer, model.named_parameters()),
    }
    save_checkpoint(tmp_path, 5, tensors, {})
    expected = train(model, optimizer, 4, first=5)

    other, other_optimizer = make()
    checkpoint = load_checkpoint(tmp_path)
    other.load_state_dict(checkpoint.tensors["model"])
    restore_optimizer_state(other_optimizer, other.named_parameters(), checkpoint.tensors["optimizer"])
    assert train(other, other_optimizer, 4, first=checkpoint.step) == expected
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert other_optimizer.param_groups[1]["lr"] == 0.01


def test_restoring_copies_and_keeps_parameter_names():
    model, optimizer = make()
    train(model, optimizer, 1)
    flat = {key: value.clone() for key, value in flatten_optimizer_state(optimizer, model.named_parameters()).items()}
    assert set(flat) == {f"{n}:{k}" for n, _ in model.named_parameters() for k in ("exp_avg", "exp_avg_sq", "step")}
    before = {key: value.clone() for key, value in flat.items()}
    other, other_optimizer = make()
    restore_optimizer_state(other_optimizer, other.named_parameters(), flat)
    train(other, other_optimizer, 1)
    assert all(torch.equal(flat[key], before[key]) for key in flat)


def test_mismatches_are_named():
    model, optimizer = make()
    train(model, optimizer, 1)
    flat = flatten_optimizer_state(optimizer, model.named_parameters())
    wide, wide_optimizer = make(width=5)
    with pytest.raises(CheckpointError, match=r"0\.weight:exp_avg has shape \[3, 2\] in the checkpoint.* \[5, 2\]"):
        restore_optimizer_state(wide_optimizer, wide.named_parameters(), flat)
    with pytest.raises(CheckpointError, match=r"state is for 7\.weight, which"):
        restore_optimizer_state(optimizer, model.named_parameters(), {"7.weight:exp_avg": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="given no name"):
        flatten_optimizer_state(optimizer, [])


@pytest.mark.cuda
def test_step_counters_stay_where_the_optimiser_keeps_them():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    for fused in (False, True):
        parameter = torch.nn.Parameter(torch.ones(3, device="cuda"))
        optimizer = torch.optim.Adam([parameter], fused=fused)
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        expected = optimizer.state[parameter]["step"].device
        flat = {key: value.cuda() for key, value in flatten_optimizer_state(optimizer, [("p", parameter)]).items()}
        restore_optimizer_state(optimizer, [("p", parameter)], flat)
        assert optimizer.state[parameter]["step"].device == expected
        assert optimizer.state[parameter]["exp_avg"].device.type == "cuda"
        optimizer.step()
