"""Every family of models through the scheduler: the tokens that the scored model would give, whatever runs beside."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from peft import PeftModel

import prompted_models
import tiny_models
from gyropilot.problems.text_generation import generation, models
from gyropilot.problems.text_generation.decoding.sampling import Sampling
from gyropilot.problems.text_generation.decoding.scheduler import Scheduler
from gyropilot.problems.text_generation.generation import generate
from gyropilot.problems.text_generation.tuning.lora import Lora
from gyropilot.problems.text_generation.tuning.prefix_tuning import PrefixTuning
from gyropilot.problems.text_generation.tuning.prompt_tuning import PromptTuning

LENGTHS = (3, 130, 9, 1, 24, 40)
COUNTS = (20, 4, 12, 16, 2, 9)
ADAPTERS = ("first", "second")
CAUSAL_ROWS = {"prompt": {"before_text": 20}, "longer prompt": {"before_text": 70}, "prefix": {"prefix": 20}}
SIDED_ROWS = {
    "encoder": {"before_text": 20},
    "decoder": {"before_answer": 5},
    "both": {"before_text": 12, "before_answer": 12},
}
"""Virtual tokens of causal models, and of those with an encoder."""


class Family:
    """One tiny model, two adapters and virtual tokens for it, and the scheduler over all of them."""

    def __init__(self, kind, root):
        self.folder = tiny_models.make(kind, root / "base")
        self.vocabulary = models.head_of(self.loaded().model).weight.shape[0]
        self.adapters = {name: self._make_adapter(root / name, seed) for seed, name in enumerate(ADAPTERS)}
        is_causal = models.layout(self.loaded().model) != "encoder-decoder"
        self.rows = CAUSAL_ROWS if is_causal else SIDED_ROWS
        for name in self.rows:
            self.adapters[name] = self.with_adapter(name).virtual_tokens.save(root / name)
        self.answers = {}
        self.scheduler = Scheduler(self.folder, dtype="float32", cores=1)
        for name, folder in {"base": None, **self.adapters}.items():
            self.scheduler.add(name, folder)

    def loaded(self):
        return models.load(self.folder, dtype="float32", attention="sdpa")

    def with_adapter(self, name):
        model = self.loaded().model
        if name in self.rows:
            return prompted_models.prompted(model, **self.rows[name], seed=len(name))
        return model if name == "base" else PeftModel.from_pretrained(model, str(self.adapters[name])).eval()

    def wanted(self, name):
        """What the code that scores a model generates for each prompt by itself."""
        if name not in self.answers:
            self.answers[name] = wanted(self.with_adapter(name), self.prompts())
        return self.answers[name]

    def prompts(self):
        draw = np.random.default_rng(5)
        return [draw.integers(3, self.vocabulary, length).tolist() for length in LENGTHS]

    def _make_adapter(self, folder, seed):
        method = Lora(rank=4, alpha=8)
        tuned = method.attach(self.loaded(), seed=seed)
        for name, one in tuned.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(one, std=0.2)
        method.save(tuned, folder)
        return folder


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    made = {}
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # more only wait for each other on models of this size

    def give(kind):
        if kind not in made:
            made[kind] = Family(kind, tmp_path_factory.mktemp("family"))
        return made[kind]

    yield give
    torch.set_num_threads(before)
    for one in made.values():
        one.scheduler.close()


def wanted(model, prompts):
    answers = [
        generate(model, [prompt], stop_ids=(), max_new_tokens=count)[0]
        for prompt, count in zip(prompts, COUNTS, strict=True)
    ]
    return [(list(one.token_ids), "length") for one in answers]


def cut(tokens, stop_ids):
    end = next((place for place, token in enumerate(tokens) if token in stop_ids), None)
    return (tokens, "length") if end is None else (tokens[:end], "stop")


def opening(generation, count):
    return [token.id for token in itertools.islice(generation, count)]


def ended(generation):
    tokens = [token.id for token in generation]
    return tokens, generation.finish_reason


@pytest.mark.parametrize("kind", tiny_models.CONFIGS)
def test_answers_that_come_and_go_are_those_of_each_prompt_alone(family, kind):
    one = family(kind)
    prompts, free = one.prompts(), one.wanted("base")
    stop_ids = (free[0][0][7], free[3][0][11])
    asked = [Sampling(max_new_tokens=count, stop_ids=stop_ids) for count in COUNTS]

    def begin(place):
        return one.scheduler.submit("base", prompts[place], asked[place])

    first = begin(0)
    head = opening(first, 2)
    others = [begin(place) for place in (1, 2)]
    second = opening(others[1], 1)
    later = [begin(place) for place in (3, 4, 5)]
    tokens, reason = ended(first)
    found = [(head + tokens, reason), ended(others[0])]
    tokens, reason = ended(others[1])
    found += [(second + tokens, reason), *map(ended, later)]
    assert found == [cut(tokens, stop_ids) for tokens, _ in free]
    assert "stop" in {reason for _, reason in found}


@pytest.mark.parametrize("kind", tiny_models.CONFIGS)
def test_rows_of_one_step_answer_each_by_its_own_adapter(family, kind):
    one = family(kind)
    prompts, names = one.prompts(), ("base", *ADAPTERS)
    asked = [names[place % 3] for place in range(len(prompts))]
    running = [
        one.scheduler.submit(name, prompt, Sampling(max_new_tokens=count))
        for name, prompt, count in zip(asked, prompts, COUNTS, strict=True)
    ]
    found = list(map(ended, running))
    by_name = {name: one.wanted(name) for name in names}
    assert found == [by_name[name][place] for place, name in enumerate(asked)]
    assert len({str(answers) for answers in by_name.values()}) == 3


@pytest.mark.parametrize("kind", tiny_models.CONFIGS)
def test_rows_behind_virtual_tokens_answer_as_scored_alone_and_beside_all_others(family, kind):
    one = family(kind)
    prompts, sampling = one.prompts(), [Sampling(max_new_tokens=count) for count in COUNTS]
    names = (*one.rows, "base", *ADAPTERS)
    for name in one.rows:
        alone = [ended(one.scheduler.submit(name, *asked)) for asked in zip(prompts, sampling, strict=True)]
        assert alone == one.wanted(name)
    cases = [(name, place) for place in range(len(prompts)) for name in names]
    running = [one.scheduler.submit(name, prompts[place], sampling[place]) for name, place in cases]
    assert list(map(ended, running)) == [one.wanted(name)[place] for name, place in cases]


@pytest.mark.parametrize("kind", tiny_models.CONFIGS)
def test_chances_behind_virtual_tokens_are_those_of_the_scored_model(family, kind):
    one = family(kind)
    prompt, names = one.prompts()[4], (*one.rows, "base", *ADAPTERS)
    running = [one.scheduler.submit(name, prompt, Sampling(max_new_tokens=1, logprobs=20)) for name in names]
    bare = generation.first_logits(one.loaded().model, prompt)
    for name, tokens in zip(names, map(list, running), strict=True):
        logits = generation.first_logits(one.with_adapter(name), prompt)
        wanted = torch.log_softmax(logits, dim=-1)
        assert dict(tokens[0].top) == pytest.approx({at: float(wanted[at]) for at, _ in tokens[0].top}, abs=2e-4)
        assert name == "base" or not torch.allclose(logits, bare, atol=2e-3)


@pytest.mark.parametrize("kind", [kind for kind in tiny_models.CONFIGS if "t5" not in kind])
def test_a_prompt_s_tokens_are_told_with_the_chances_that_the_scored_model_gives_them(family, kind):
    one = family(kind)
    prompt, names = one.prompts()[2], (*one.rows, "base", *ADAPTERS)
    asked = Sampling(max_new_tokens=1, tells_prompt=True, tells_rank=True, logprobs=0)
    running = [one.scheduler.submit(name, prompt, asked) for name in names]
    for name, generation_ in zip(names, running, strict=True):
        list(generation_)
        first, *others = generation_.prompt_tokens
        assert (first.id, first.logprob, first.rank) == (prompt[0], None, None)
        model = one.with_adapter(name)
        for place, token in enumerate(others, start=1):
            logits = generation.first_logits(model, prompt[:place])
            assert token.id == prompt[place]
            assert token.logprob == pytest.approx(float(torch.log_softmax(logits, -1)[token.id]), abs=2e-4)
            above = logits - logits[token.id]
            assert 1 + int((above > 1e-4).sum()) <= token.rank <= 1 + int((above > -1e-4).sum())
        assert place == len(prompt) - 1


PEFT_GENERATES = [(kind, "rows") for kind in ("llama-2", "mistral", "gpt-neox", "falcon-7b", "mpt", "flan-t5")]
PEFT_GENERATES += [(kind, "prefix") for kind in ("llama-2 with shared keys", "gpt-neox")]


@pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning")
@pytest.mark.parametrize(("kind", "form"), PEFT_GENERATES)
def test_what_training_saves_is_answered_with_the_tokens_that_peft_generates(family, tmp_path, kind, form):
    one = family(kind)
    method = PromptTuning(num_virtual_tokens=9) if form == "rows" else PrefixTuning(num_virtual_tokens=9)
    tuned = method.attach(one.loaded(), seed=1)
    for trained in models.trainable_parameters(tuned).values():
        trained.data += 0.5 * torch.randn(trained.shape, generator=torch.Generator().manual_seed(2))
    method.save(tuned, tmp_path / "saved")
    one.scheduler.add("saved", tmp_path / "saved")
    peft = PeftModel.from_pretrained(one.loaded().model, str(tmp_path / "saved")).eval()
    prompt = one.prompts()[4]
    found = peft.generate(
        input_ids=torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=12,
        eos_token_id=None,
        pad_token_id=0,
    )
    wanted = found[0, 1 if kind == "flan-t5" else len(prompt) :].tolist()
    assert ended(one.scheduler.submit("saved", prompt, Sampling(max_new_tokens=12))) == (wanted, "length")


@pytest.mark.parametrize("kind", tiny_models.CONFIGS)
def test_virtual_tokens_are_counted_neither_as_prompt_nor_by_a_repetition_penalty(family, kind):
    one = family(kind)
    (name, *_), prompt = one.rows, one.prompts()[2]
    (first, *_) = one.wanted(name)[2][0]
    strong = Sampling(max_new_tokens=1, repetition_penalty=50.0)
    (token,) = one.scheduler.submit(name, prompt, strong)
    logits = generation.first_logits(one.with_adapter(name), prompt)
    read = prompt if one.rows is CAUSAL_ROWS else [models.answer_start(one.loaded().model)]
    seen = torch.zeros(len(logits), dtype=torch.bool)
    seen[read] = True
    lowered = torch.where(seen, torch.where(logits < 0, logits * 50, logits / 50), logits)
    assert token.id == int(lowered.argmax())
    assert first == int(logits.argmax())


@pytest.mark.parametrize("kind", tiny_models.CONFIGS)
def test_logprobs_are_those_of_the_merged_model(family, kind):
    one = family(kind)
    merged = Lora().merge(one.with_adapter("first"), dtype="float32")
    prompt = one.prompts()[4]
    sampling = Sampling(max_new_tokens=6, logprobs=5)
    tokens = list(one.scheduler.submit("first", prompt, sampling))
    given = [token.id for token in tokens]
    expected = torch.log_softmax(logits(merged, prompt, given), dim=-1)
    for token, row in zip(tokens, expected, strict=True):
        best = row.topk(5)
        assert [place for place, _ in token.top] == best.indices.tolist()
        assert [value for _, value in token.top] == pytest.approx(best.values.tolist(), abs=2e-4)
        assert token.logprob == pytest.approx(float(row[token.id]), abs=2e-4)


def logits(model, prompt, answer):
    with torch.inference_mode():
        if models.layout(model) == "encoder-decoder":
            start = torch.tensor([[models.answer_start(model), *answer[:-1]]])
            return model(input_ids=torch.tensor([prompt]), decoder_input_ids=start).logits[0]
        return model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
