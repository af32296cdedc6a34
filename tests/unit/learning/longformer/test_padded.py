"""The drop-in forward over padded batches, and what it hands back to the stock model."""

import pytest
import torch

from postq.errors import BadInput
from postq.learning.longformer import accelerate
from tests.unit.learning.longformer.reference import alone, backbone, classifier, documents, hidden_alone

LENGTHS = [40, 1, 97, 64]


def padded(docs, *, left=False, width=None):
    """(input_ids, attention_mask) with padding on one side."""
    width = width or max(len(doc) for doc in docs)
    ids = torch.full((len(docs), width), 1)
    mask = torch.zeros(len(docs), width, dtype=torch.long)
    for row, doc in enumerate(docs):
        columns = slice(width - len(doc), width) if left else slice(0, len(doc))
        ids[row, columns] = doc
        mask[row, columns] = 1
    return ids, mask


@pytest.fixture
def docs():
    return documents(LENGTHS)


def test_right_padded_batches_give_the_stock_logits_and_output_class(docs):
    model = classifier()
    ids, mask = padded(docs)
    with torch.no_grad():
        found, stock = accelerate(model)(ids, mask), model(ids, mask)
    assert type(found) is type(stock)
    torch.testing.assert_close(found.logits, stock.logits, atol=1e-5, rtol=0.0)


def test_left_padded_batches_give_the_logits_of_each_document_alone(docs):
    """Stock reads column 0, which is padding here, and gives every document the same constant logits."""
    model = classifier()
    ids, mask = padded(docs, left=True, width=128)
    with torch.no_grad():
        found = accelerate(model)(ids, mask).logits
        torch.testing.assert_close(found, alone(model, docs), atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("left", [False, True])
def test_padded_hidden_states_equal_stock_at_every_real_token(docs, left):
    model = backbone(pooler=True)
    ids, mask = padded(docs, left=left)
    marks = torch.zeros_like(mask)
    marks[torch.arange(4), mask.argmax(1)] = 1
    with torch.no_grad():
        found, stock = accelerate(model)(ids, mask, marks), model(ids, mask, marks)
    real = mask != 0
    torch.testing.assert_close(
        found.last_hidden_state[real], stock.last_hidden_state[real], atol=1e-5, rtol=0.0
    )
    assert not found.last_hidden_state[~real].any()
    if not left:
        torch.testing.assert_close(found.pooler_output, stock.pooler_output, atol=1e-5, rtol=0.0)


def test_global_masks_may_name_other_tokens_and_padding(docs):
    model = classifier()
    ids, mask = padded(docs)
    marks = torch.zeros_like(mask)
    marks[0, [3, 20]] = 1
    marks[1, [0, 50]] = 1  # 50 is padding in this row
    marks[2, 96] = 1
    with torch.no_grad():
        found, stock = accelerate(model)(ids, mask, marks).logits, model(ids, mask, marks).logits
    torch.testing.assert_close(found, stock, atol=1e-5, rtol=0.0)


def test_a_mask_with_gaps_falls_back_to_stock_and_says_so(docs, capsys):
    model = classifier()
    ids, mask = padded(docs)
    mask[2, 10:12] = 0
    with torch.no_grad():
        found, stock = accelerate(model)(ids, mask).logits, model(ids, mask).logits
    assert torch.equal(found, stock)
    assert "the attention mask has gaps" in capsys.readouterr().out


def test_without_a_mask_every_column_is_a_token(docs):
    model = classifier()
    ids, _ = padded([docs[0], docs[0]])
    with torch.no_grad():
        found, stock = accelerate(model)(ids).logits, model(ids).logits
    torch.testing.assert_close(found, stock, atol=1e-5, rtol=0.0)


def test_an_empty_row_is_refused_by_number(docs):
    ids, mask = padded(docs)
    mask[1] = 0
    with pytest.raises(BadInput, match="Document 1 of the batch has no tokens"):
        accelerate(classifier())(ids, mask)


def test_forward_with_offsets_is_the_packed_forward(docs):
    fast = accelerate(classifier())
    bounds = torch.tensor([0, 40, 41, 138, 202])
    with torch.no_grad():
        assert torch.equal(
            fast(torch.cat(docs), offsets=bounds), fast.forward_packed(torch.cat(docs), bounds)
        )


def test_first_states_are_the_first_rows_of_the_hidden_states(docs):
    model = backbone()
    fast, bounds = accelerate(model), [0, 40, 41, 138, 202]
    with torch.no_grad():
        firsts = fast.first_states_packed(torch.cat(docs), bounds)
        stock = torch.stack([hidden_alone(model, doc, [0])[0] for doc in docs])
    torch.testing.assert_close(firsts, stock, atol=1e-5, rtol=0.0)
