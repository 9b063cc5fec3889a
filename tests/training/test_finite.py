import pytest
import torch

from gha.capture.frame import Frame
from gha.errors import TrainingError
from gha.faces.code import HeadCode
from gha.geometry import Camera
from gha.training.finite import FiniteGate
from gha.training.optimizers import RowAdam

CPU = torch.device("cpu")


def frame(name):
    camera = Camera(torch.eye(4)[None, None], torch.eye(3)[None, None], 2, 2)
    picture = torch.zeros(1, 1, 1, 2, 2)
    code = HeadCode(torch.zeros(1, 2), torch.zeros(1, 6), torch.ones(1, 1))
    return Frame(picture, picture, picture, camera, code, torch.zeros(1, 66, 3), [name], (("left", "right"),))


def judge(gate, step, **terms):
    gate.remember(step, frame(f"{step:04}"))
    terms = {name: torch.tensor(value) for name, value in terms.items()}
    return gate.judge(terms, sum(terms.values())).item()


def test_updates_are_left_out_from_the_first_accident_on_and_it_is_the_one_told():
    gate = FiniteGate(CPU)
    assert [judge(gate, step, fine=1.0, alpha=2.0) for step in (0, 1)] == [0.0, 0.0]
    gate.require_finite()
    assert judge(gate, 2, fine=1.0, alpha=0.5) == 0.0
    assert judge(gate, 3, fine=1.0, alpha=float("nan")) == 1.0
    assert judge(gate, 4, fine=float("inf"), alpha=1.0) == 1.0
    assert judge(gate, 5, fine=1.0, alpha=1.0) == 1.0
    with pytest.raises(TrainingError, match=r"step 3: loss alpha is not finite \(frames 0003; cameras left\+right\)"):
        gate.require_finite()


def test_a_sum_that_overflows_is_an_accident_too():
    gate = FiniteGate(CPU)
    assert judge(gate, 7, fine=3e38, alpha=3e38) == 1.0
    with pytest.raises(TrainingError, match="step 7: loss total is not finite"):
        gate.require_finite()


def test_rows_move_as_sparse_adam_moves_them():
    torch.manual_seed(0)
    dense, sparse = torch.nn.Embedding(5, 3), torch.nn.Embedding(5, 3, sparse=True)
    sparse.load_state_dict(dense.state_dict())
    optimizers = RowAdam(dense.parameters(), lr=0.1), torch.optim.SparseAdam(sparse.parameters(), lr=0.1)
    for rows in ([0, 1], [1, 3], [1, 1], [4, 0]):
        for table, optimizer in zip((dense, sparse), optimizers, strict=True):
            optimizer.zero_grad()
            (table(torch.tensor(rows)) - 1).pow(3).sum().backward()
            optimizer.step()
    torch.testing.assert_close(dense.weight, sparse.weight, atol=1e-6, rtol=1e-5)


def test_rows_stay_where_a_loss_is_not_finite():
    table = torch.nn.Embedding(2, 3)
    optimizer = RowAdam(table.parameters(), lr=0.1)
    before = table.weight.detach().clone()
    (table(torch.tensor([1])) * float("nan")).sum().backward()
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    assert torch.equal(table.weight.detach(), before)
    assert not optimizer.state[table.weight]["exp_avg"].any()
