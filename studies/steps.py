"""Timed steps: of the program's own training loop, and of HF Trainer with peft, on random weights and random texts of equal length.

Ours are steps of the real loop (`pelt_automl.training.packing`): batches, collation, `Pack`, losses, `PackedAdamW`, schedule. The peer
trains the same configurations one by one: by peft where it has the method, by flags, else our own module (a pack of one), in HF Trainer.
It has fused AdamW, and no logging, saving or looks at the loss. Neither evaluates. torch and transformers are all that ours needs beside
the program's own core; the peer needs accelerate, and without peft our own modules stand in.
"""

import copy
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from pelt_automl.backbones.architectures import architecture_of
from pelt_automl.backbones.loading import Backbone, Precision, compute_dtype, wrap
from pelt_automl.design_space import Site
from pelt_automl.log.events import Seeds
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial
from pelt_automl.tasks import METRICS
from pelt_automl.tasks.kinds import LabelScale
from pelt_automl.timing.schedule import TrainingPlan
from pelt_automl.training.memory import give_back, peak_of
from pelt_automl.training.packing import train
from pelt_automl.training.tokens import BatchOrder, Tokens
from pelt_automl.training.trials import TrialRun
from pelt_automl.training.work import Work as TrainingWork
from studies.harness import fresh_process, peak_resident
from studies.table_grid import DEFAULT, Configuration, committed_configurations

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
"""Sizes by BERT's names of them."""
VOCABULARY, OUTPUTS, EXAMPLES = 30522, 2, 64
RATE = 1e-4
"""Of every trial: speed doesn't depend on it, and random weights stay finite."""
NEVER = 1_000_000
"""Steps of a full training, far more than are taken."""
MEASURED = 3
"""Steps of a pack whose memory is measured."""


class DidNotRun(RuntimeError):  # noqa: N818 reads as what happened
    """A pack couldn't be trained as asked, with the reason."""


@dataclass(frozen=True)
class Work:
    """What a step of one trial is, and how many are taken; all texts have `tokens` tokens, so that nothing is padding."""

    batch: int
    tokens: int
    steps: int
    warmup: int


@dataclass(frozen=True)
class Timing:
    """Seconds of a timed step (their mean), of the way to the end of the first step, and GPU bytes beside what was held before."""

    step: float
    setup: float
    added_bytes: int | None


class Clock:
    """Told of each step: the mean between the last warm-up step's end and the last step's, with the device's queue empty at both."""

    def __init__(self, device: torch.device, work: Work) -> None:
        self.gpu, self.work, self.taken, self.setup = device.type == "cuda", work, 0, 0.0
        if self.gpu:
            gc.collect()  # earlier trainers hold their models in cycles
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self.held = torch.cuda.memory_allocated()
        self.began = self.begin = self.end = time.perf_counter()

    def tick(self, *_: object) -> None:
        """A step has ended, or its work has been queued."""
        self.taken += 1
        if self.taken in (1, self.work.warmup, self.work.warmup + self.work.steps):
            if self.gpu:
                torch.cuda.synchronize()
            now = time.perf_counter()
            self.setup = self.setup or now - self.began
            self.begin, self.end = (now, now) if self.taken <= self.work.warmup else (self.begin, now)

    def timing(self) -> Timing:
        """After the last step."""
        added = torch.cuda.max_memory_allocated() - self.held if self.gpu else None
        return Timing((self.end - self.begin) / self.work.steps, self.setup, added)


# -------------------------------------------------------------------- ours


def device_named(name: str) -> torch.device:
    """``auto``: the GPU if there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def bert_config(sizes: Mapping[str, int], tokens: int) -> Any:
    """A BERT without dropout, as the selection trains its backbones; the peers get the same."""
    from transformers import BertConfig

    own: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_labels": OUTPUTS, **sizes}
    return BertConfig(vocab_size=VOCABULARY, max_position_embeddings=max(512, tokens + 64), **own)


def random_backbone(sizes: Mapping[str, int], tokens: int, device: torch.device, precision: Precision) -> Backbone:
    """A frozen encoder with random weights; speed doesn't depend on what they are."""
    from transformers import BertModel

    torch.manual_seed(0)
    model: Any = BertModel(bert_config(sizes, tokens))
    model = model.to(device=device, dtype=compute_dtype(precision, device))
    return wrap(model, SimpleNamespace(pad_token_id=0), name="random")


def random_texts(work: Work, seed: int = 0) -> Tokens:
    """Texts of equal length with alternating labels."""
    count = max(EXAMPLES, 2 * work.batch)
    drawn = np.random.default_rng(seed).integers(1000, VOCABULARY, (count, work.tokens))
    return Tokens(drawn.tolist(), None, np.arange(count, dtype=np.float64) % OUTPUTS)


def configurations(methods: Sequence[str], count: int) -> list[Configuration]:
    """What a search asks for: every method's published default in turn, then its others of the table's grid, again and again."""
    known = committed_configurations()
    own = {name: list(known[name].values()) if name in known else [default_of(name)] for name in methods}
    turns = {name: cycle(found) for name, found in own.items()}
    return [next(turns[name]) for name in islice(cycle(methods), count)]


def default_of(method: str) -> Configuration:
    """Its published default."""
    return Configuration(method, DEFAULT, METHODS[method].defaults)


def time_pack(backbone: Backbone, trials: Sequence[Configuration], work: Work) -> Timing:
    """Train a pack for a few steps. Raises `DidNotRun` when it fails, or fits into memory in halves only."""
    plan = TrainingPlan(NEVER, (), (), work.batch, warmup=0.1, clip=1.0, weight_decay=0.0, patience=4)
    clock, packs, runs = Clock(backbone.device, work), set[int](), []
    for seed, trial in enumerate(trials):
        texts = random_texts(work, seed)
        modifications, order = METHODS[trial.method].modifications(trial.hyper_parameters), BatchOrder(texts.lengths, work.batch, seed)
        runs.append(
            TrialRun(f"{trial.method}-{seed}", modifications, RATE, Seeds(0, seed, seed), texts, texts.take([0]), LabelScale(), order)
        )

    def on_step(size: int) -> None:
        packs.add(size)
        clock.tick()

    train(TrainingWork(backbone, plan, METRICS["accuracy"], OUTPUTS, on_step=on_step), runs, work.warmup + work.steps)
    if failed := [run.progress.cause for run in runs if run.progress.state == "failed"]:
        raise DidNotRun(failed[0].splitlines()[0])
    if packs != {len(trials)}:
        raise DidNotRun(f"{len(trials)} trials don't train in one pack; the loop made packs of {sorted(packs)}")
    return clock.timing()


def flops(backbone: Backbone, trials: Sequence[Configuration], work: Work) -> float:
    """FLOPs of a trial's step, as torch counts the matrix products of one step of the pack."""
    with FlopCounterMode(display=False) as counter:
        time_pack(backbone, trials, Work(work.batch, work.tokens, 1, 0))
    return float(counter.get_total_flops() / len(trials))


# -------------------------------------------------------------------- memory of packs


@dataclass(frozen=True)
class Probed:
    """Bytes of trials alone, by method, and of a pack of several of them: what a selection predicts packs by."""

    alone: dict[str, float]
    together: list[str]
    """The pack's methods."""
    packed: float

    @property
    def shared(self) -> float:
        """What a pack needs however many trials it has: counted once in `packed`, and in each of `alone`."""
        apart = [self.alone[method] for method in self.together]
        return min((sum(apart) - self.packed) / (len(apart) - 1), *apart)  # no trial takes less than nothing

    def of(self, methods: Sequence[str]) -> float:
        """A pack of a trial of each of these, a method as often as it is named."""
        return self.shared + sum(max(0.0, self.alone[method] - self.shared) for method in methods)


def probe(backbone: Backbone, trials: Sequence[Configuration], work: Work) -> dict[str, Any]:
    """`Probed` of two steps of each of these trials alone, then of the last ones in a pack of 4 (8 on a GPU), as a selection does."""
    size = 8 if backbone.device.type == "cuda" else 4
    together = list(islice(cycle(trials[-size:]), size))

    def peak(pack: Sequence[Configuration]) -> float:
        with peak_of(backbone.device) as found:
            time_pack(backbone, pack, Work(work.batch, work.tokens, 1, 1))
        return found.bytes

    alone = {trial.method: peak([trial]) for trial in trials}
    return {"alone": alone, "together": [trial.method for trial in together], "packed": peak(together)}


def pack_bytes(backbone: Backbone, trials: Sequence[Configuration], work: Work) -> float:
    """Of a pack of these trials at most, beside the backbone; on a processor this process's resident memory."""
    if backbone.device.type != "cuda":
        give_back()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the largest resident memory begins again at what is resident now
    before = peak_resident()
    added = time_pack(backbone, trials, Work(work.batch, work.tokens, MEASURED - 1, 1)).added_bytes
    return peak_resident() - before if added is None else added


def memory(what: str, shape: str, backbone: Backbone, trials: Sequence[Configuration], precision: Precision, work: Work) -> Any:
    """`probe` or `pack_bytes`: on a processor in a fresh process, in whose heap nothing else has left holes."""
    if backbone.device.type == "cuda":
        return MEMORY[what](backbone, trials, work)
    plain = [(trial.method, trial.name, dict(trial.hyper_parameters)) for trial in trials]
    return fresh_process("studies.steps:memory_here", what=what, shape=shape, trials=plain, precision=precision, work=vars(work)).result


def memory_here(what: str, shape: str, trials: Sequence[Sequence[Any]], precision: Precision, work: dict[str, int]) -> Any:
    """The same in this process, on its processor; arguments are plain values."""
    backbone = random_backbone(SHAPES[shape], work["tokens"], device_named("cpu"), precision)
    return MEMORY[what](backbone, [Configuration(*trial) for trial in trials], Work(**work))


MEMORY: Mapping[str, Callable[[Backbone, Sequence[Configuration], Work], Any]] = {"probe": probe, "pack": pack_bytes}


# -------------------------------------------------------------------- the peer

PeerPrecision = Literal["fp32", "bf16 autocast", "bf16 weights"]
"""``bf16 weights``: the frozen backbone in bf16 too, what is trained in fp32, under autocast."""
BY_PEFT, BY_FLAGS = ("lora", "ia3", "prompt"), ("bitfit", "full")
"""Trained by peft; without any library: which weights have a gradient is all there is to it."""


def peft_is_here() -> bool:
    """Whether it can be imported."""
    try:
        import peft  # noqa: F401
    except ImportError:
        return False
    return True


def how_trained(method: str) -> str:
    """For the tables: ``peft + HF Trainer``."""
    if method in BY_FLAGS:
        return "HF Trainer"
    by_peft = method in BY_PEFT and peft_is_here()
    return ("peft" if by_peft else "own module (no peft here)" if method in BY_PEFT else "own module") + " + HF Trainer"


def tuned(model: nn.Module, method: str, values: Mapping[str, Any]) -> nn.Module:
    """A classifier of `transformers` with one method of `BY_PEFT` or `BY_FLAGS` put in; what is trained is fp32."""
    if method in BY_FLAGS:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = method == "full" or name.endswith("bias") or name.startswith(("classifier", "score"))
        return model
    from peft import get_peft_model

    whole: nn.Module = get_peft_model(model, _peft_config(model.config, method, values))
    for parameter in whole.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return whole


def _peft_config(config: Any, method: str, values: Mapping[str, Any]) -> Any:
    import peft

    if method == "prompt":
        start = "SAMPLE_VOCAB" if values["initialization"] == "vocabulary" else "RANDOM"
        return peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=values["prompt_length"], prompt_tuning_init=start)
    sites = [modification.site for modification in METHODS[method].modifications(values)]
    maps = _maps(config, *sites)
    if method == "lora":
        return peft.LoraConfig(task_type="SEQ_CLS", r=values["rank"], lora_alpha=values["alpha"], lora_dropout=0.0, target_modules=maps)
    feed_forward = _maps(config, *(site for site in sites if site is Site.FFN_DOWN))
    return peft.IA3Config(task_type="SEQ_CLS", target_modules=maps, feedforward_modules=feed_forward)


def _maps(config: Any, *sites: Site) -> str:
    """peft's pattern for the full paths of linear maps, from our table of the architecture, so that both change the same ones."""
    places = architecture_of(config).stacks[0].sites
    return r".*\.\d+\.(" + "|".join(str(places[site]).replace(".", r"\.") for site in sites) + ")"


class OwnModule(nn.Module):
    """One trial of ours as a model that HF Trainer takes: a pack of one."""

    def __init__(self, backbone: Backbone, trial: Configuration) -> None:
        super().__init__()
        self.pack = Pack(backbone, [PackTrial(METHODS[trial.method].modifications(trial.hyper_parameters), 0)], OUTPUTS)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss and logits, as Trainer wants them."""
        logits = self.pack(input_ids[None], attention_mask[None]).logits[0]
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


def trainer_arguments(device: torch.device, precision: PeerPrecision, **settings: Any) -> Any:
    """`transformers.TrainingArguments`: the fastest sensible ones, the same in every study."""
    from transformers import TrainingArguments

    same: dict[str, Any] = {
        "output_dir": tempfile.gettempdir(),  # nothing is saved
        "use_cpu": device.type == "cpu", "bf16": precision != "fp32", "optim": "adamw_torch_fused", "max_grad_norm": 1.0,
        "weight_decay": 0.0, "logging_strategy": "no", "logging_nan_inf_filter": False, "save_strategy": "no", "report_to": [],
        "disable_tqdm": True, "remove_unused_columns": False, "dataloader_pin_memory": device.type == "cuda", "learning_rate": RATE,
    }  # fmt: skip
    return TrainingArguments(**same | settings)


def quiet_trainer(*arguments: Any, **more: Any) -> Any:
    """`transformers.Trainer` that prints nothing."""
    from transformers import PrinterCallback, Trainer

    trainer = Trainer(*arguments, **more)
    trainer.remove_callback(PrinterCallback)
    return trainer


class Peer:
    """Trains one configuration after the other on a random classifier of the given sizes."""

    def __init__(self, sizes: Mapping[str, int], backbone: Backbone, work: Work, precision: PeerPrecision) -> None:
        """`backbone`: ours, with the same sizes, for methods that peft doesn't have."""
        from transformers import AutoModelForSequenceClassification

        self.backbone, self.device, self.precision, self.work = backbone, backbone.device, precision, work
        classifiers: Any = AutoModelForSequenceClassification
        self.base = classifiers.from_config(bert_config(sizes, work.tokens)).to(self.device)

    def model(self, trial: Configuration) -> tuple[nn.Module, PeerPrecision]:
        """A fresh model for a configuration, and the precision to train it in."""
        by_peft = trial.method in BY_PEFT and peft_is_here()
        if trial.method not in BY_FLAGS and not by_peft:
            return OwnModule(self.backbone, trial), "fp32"  # a pack computes in the backbone's own precision, without autocast
        base = copy.deepcopy(self.base)
        if self.precision == "bf16 weights" and by_peft:
            base = base.to(torch.bfloat16)
        return tuned(base, trial.method, trial.hyper_parameters), self.precision

    def train(self, trial: Configuration, after_step: Callable[[int], None] = lambda _: None) -> Timing:
        """A few steps, timed; `after_step` is told how many have been taken, within the time of the next."""
        from transformers import TrainerCallback

        texts, work, clock = random_texts(self.work), self.work, Clock(self.device, self.work)
        examples = [
            {"input_ids": torch.tensor(ids), "attention_mask": torch.ones(len(ids), dtype=torch.long), "labels": torch.tensor(int(label))}
            for ids, label in zip(texts.input_ids, texts.labels, strict=True)
        ]

        class Ticks(TrainerCallback):
            def on_step_end(self, *_: Any, **__: Any) -> None:
                clock.tick()
                after_step(clock.taken)

        model, precision = self.model(trial)
        arguments = trainer_arguments(self.device, precision, per_device_train_batch_size=work.batch, max_steps=work.warmup + work.steps)
        quiet_trainer(model, arguments, train_dataset=examples, callbacks=[Ticks()]).train()
        return clock.timing()

    def one_by_one(self, trials: Sequence[Configuration]) -> Timing:
        """The mean of steps, the median of setups, the largest memory."""
        every = [self.train(trial) for trial in trials]
        peaks = [own.added_bytes for own in every if own.added_bytes is not None]
        return Timing(statistics.mean(own.step for own in every), statistics.median(own.setup for own in every), max(peaks, default=None))


def fastest_precision(sizes: Mapping[str, int], backbone: Backbone, work: Work) -> tuple[PeerPrecision, dict[str, float]]:
    """The precision in which LoRA takes the least time a step, and each one's seconds."""
    short = Work(work.batch, work.tokens, min(3, work.steps), min(2, work.warmup))
    wanted = [name for name in get_args(PeerPrecision) if name != "fp32" or backbone.device.type != "cuda"]  # never the fastest there
    found: dict[Any, float] = {name: Peer(sizes, backbone, short, name).train(default_of("lora")).step for name in wanted}
    return min(found, key=lambda name: found[name]), found


# -------------------------------------------------------------------- the peer in k processes


_STATION = dict[str, Any]()
"""What a process of the pool keeps between turns: its ``peer`` and the ``gate`` of all."""


def open_station(gate: Any, sizes: Mapping[str, int], work: Work, device: str, precisions: tuple[Any, Any], threads: int) -> None:
    """In each process of a pool, once. `precisions`: of our backbone, of the peer."""
    torch.set_num_threads(threads)
    backbone = random_backbone(sizes, work.tokens, device_named(device), precisions[0])
    _STATION.update(peer=Peer(sizes, backbone, work, precisions[1]), gate=gate)


def train_at_station(trial: Configuration) -> tuple[float, float]:
    """When the timed steps of one training began, all processes being warm, and when they ended, by the machine's clock."""
    began, work = [0.0], _STATION["peer"].work

    def after_step(taken: int) -> None:
        if taken == work.warmup:
            _STATION["gate"].wait()
            began[0] = time.monotonic()

    try:
        _STATION["peer"].train(trial, after_step)
    except BaseException:
        _STATION["gate"].abort()  # the others must not wait for this one
        raise
    return began[0], time.monotonic()
