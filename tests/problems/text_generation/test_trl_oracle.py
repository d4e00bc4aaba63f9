"""TRL's SFTTrainer says what loss and gradients of a batch are; ours must agree."""

import numpy as np
import pytest
import torch

from gyropilot.problems.text_generation import batches, forward
from gyropilot.problems.text_generation.models import trainable_parameters
from gyropilot.problems.text_generation.tuning.lora import Lora


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("gathered", [1, 3])
def test_loss_and_gradients_equal_those_of_sft_trainer(tiny, kind, tmp_path, gathered):
    examples = tiny.examples(6)
    model = Lora(rank=4, alpha=8).attach(tiny.loaded(kind), seed=5)
    for name, one in trainable_parameters(model).items():
        torch.manual_seed(len(name))
        one.data += 0.05 * torch.randn_like(one)
    trainer = sft_trainer(model, examples, tmp_path)
    collate, labels = trainer.data_collator, sum(len(one.answer_ids) for one in examples)
    theirs = 0.0
    for part in np.array_split(np.arange(6), gathered):
        loss = trainer.compute_loss(
            model, collate([trainer.train_dataset[int(row)] for row in part]), num_items_in_batch=torch.tensor(labels)
        )
        loss.backward()
        theirs += float(loss.detach())
    wanted = {name: one.grad.clone() for name, one in trainable_parameters(model).items()}
    model.zero_grad()
    model.eval()
    way, _ = forward.choose(model, examples, check="gradients", precision="float32")
    assert way.name == ("fused" if kind == "llama" else "plain")
    ours = 0.0
    for pack in batches.packs(examples, max_tokens=64, max_examples=8):
        loss = way.loss_sum(pack) / labels
        loss.backward()
        ours += float(loss.detach())
    assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6)
    for name, gradient in wanted.items():
        found = trainable_parameters(model)[name].grad
        torch.testing.assert_close(found, gradient, rtol=1e-5, atol=1e-5)
        assert float((found - gradient).norm()) <= 1e-5 * float(gradient.norm()), name


def sft_trainer(model, examples, folder):
    """A trainer over rows that are tokens already, its pad token equal to eos."""
    from datasets import Dataset
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    words = WordLevel({f"w{number}": number for number in range(256)}, unk_token="w1")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), eos_token="w0", pad_token="w0")
    rows = [
        {
            "input_ids": [*one.prompt_ids.tolist(), *one.answer_ids.tolist()],
            "completion_mask": [0] * len(one.prompt_ids) + [1] * len(one.answer_ids),
        }
        for one in examples
    ]
    config = SFTConfig(
        output_dir=str(folder),
        completion_only_loss=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        max_length=None,
    )
    trainer = SFTTrainer(model=model, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    trainer.model.train()
    return trainer
