"""What a packed stream refuses."""

import pytest
import torch

from postq.errors import BadInput, BundleUnusable
from postq.learning.longformer import accelerate
from tests.unit.learning.longformer.reference import backbone, classifier, configuration, documents


@pytest.fixture
def fast():
    return accelerate(classifier(configuration(table=52)))


@pytest.mark.parametrize(
    ("tokens", "offsets", "message"),
    [
        (0, [0], "needs tokens in one dimension"),
        (0, [0, 0], "needs tokens in one dimension"),
        (5, [0, 5, 5], "Document 1 of the batch has no tokens"),
        (5, [0, 3], "Offsets run from 0 to 3, but the stream has 5 tokens"),
        (5, [1, 5], "Offsets run from 1 to 5"),
        (51, [0, 51], "Document 0 of the batch has 51 tokens; the position table ends at 50"),
    ],
)
def test_streams_that_do_not_fit_are_refused_in_one_sentence(fast, tokens, offsets, message):
    ids = documents([tokens])[0] if tokens else torch.empty(0, dtype=torch.long)
    with pytest.raises(BadInput, match=message):
        fast.forward_packed(ids, offsets)


def test_padded_documents_beyond_the_position_table_are_refused(fast):
    with pytest.raises(BadInput, match="the position table ends at 50"):
        fast(documents([51])[0][None])


@pytest.mark.parametrize("bad", [-1, 100])
def test_ids_outside_the_vocabulary_are_refused(fast, bad):
    ids = documents([5])[0]
    ids[2] = bad
    with pytest.raises(BadInput, match=f"Token id {bad} is outside the model's vocabulary of 100"):
        fast.forward_packed(ids, [0, 5])


@pytest.mark.parametrize("mark", [-1, 5])
def test_global_positions_outside_the_stream_are_refused(fast, mark):
    with pytest.raises(BadInput, match="outside the stream of 5 tokens"):
        fast.forward_packed(documents([5])[0], [0, 5], global_positions=[mark])


def test_a_model_without_a_classifier_gives_no_logits():
    with pytest.raises(BundleUnusable, match="no classifier"):
        accelerate(backbone()).forward_packed(documents([5])[0], [0, 5])
