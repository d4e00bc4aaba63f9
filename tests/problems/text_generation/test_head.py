import pytest
import torch

from gyropilot.problems.text_generation import head


def plain(hidden, weight, labels):
    return torch.nn.functional.cross_entropy((hidden @ weight.t()).float(), labels, reduction="sum")


@pytest.mark.parametrize("rows_per_chunk", [1, 3, 1000])
@pytest.mark.parametrize("trains_head", [False, True])
def test_the_chunked_loss_and_its_gradients_equal_the_plain_ones(monkeypatch, rows_per_chunk, trains_head):
    torch.manual_seed(0)
    hidden, weight = torch.randn(10, 8), torch.randn(50, 8)
    labels = torch.randint(0, 50, (10,))
    monkeypatch.setattr(head, "CHUNK_ELEMENTS", rows_per_chunk * 50)
    results = []
    for loss in (plain, head.label_loss_sum):
        inputs = hidden.clone().requires_grad_(), weight.clone().requires_grad_(trains_head)
        value = loss(*inputs, labels)
        (value * 0.5).backward()
        results.append((value.detach(), inputs[0].grad, inputs[1].grad))
    (value, *wanted), (own_value, *own) = results
    torch.testing.assert_close(own_value, value, rtol=1e-6, atol=1e-6)
    for mine, theirs in zip(own, wanted, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_bfloat16_sums_do_not_drift_with_the_number_of_chunks(monkeypatch):
    torch.manual_seed(0)
    hidden, weight = torch.randn(512, 16).bfloat16(), torch.randn(300, 16).bfloat16()
    labels = torch.randint(0, 300, (512,))
    sums = []
    for rows in (1, 512):
        monkeypatch.setattr(head, "CHUNK_ELEMENTS", rows * 300)
        sums.append(float(head.label_loss_sum(hidden, weight, labels)))
    exact = float(plain(hidden.float(), weight.float(), labels))
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)
    assert sums[0] == pytest.approx(exact, rel=2e-3)


def test_no_gradient_is_made_where_none_is_asked_for():
    loss = head.label_loss_sum(torch.randn(3, 4), torch.randn(5, 4), torch.tensor([0, 1, 2]))
    assert not loss.requires_grad
