"""The peers' training: HF Trainer with peft's modules where peft has the method, else with our own module of one trial.

Where `transformers.Trainer` can't be imported (it needs accelerate), a plain PyTorch loop stands in, and where peft isn't installed our own
modules do; `how_trained` says which, for the tables. The settings are the fastest sensible ones: fused AdamW, no logging, saving or
progress bars, no look at the loss after each step (`logging_nan_inf_filter`), and the precision that was measured to be fastest.
"""

import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from benchmarks.measuring import StepClock
from benchmarks.our_steps import OUTPUTS, RATE, AddedMemory, Configuration, Timing, Work, random_texts
from pelt_automl.backbones.architectures import architecture_of
from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import Site
from pelt_automl.methods import METHODS
from pelt_automl.modifications import Pack, PackTrial

PeerPrecision = Literal["fp32", "bf16 autocast", "bf16 weights"]
"""``bf16 weights``: the frozen backbone in bf16 too, what is trained in fp32, under autocast."""

BY_PEFT = ("lora", "ia3", "prompt")
BY_FLAGS = ("bitfit", "full")
"""Trained without any library: which weights have a gradient is all there is to it."""

Example = dict[str, Any]


def missing(library: Literal["trainer", "peft"]) -> str:
    """Why a library can't be used; empty if it can."""
    try:
        if library == "peft":
            import peft  # noqa: F401
        else:
            import accelerate  # noqa: F401
            from transformers import Trainer  # noqa: F401
    except ImportError as error:
        return str(error).splitlines()[0]
    return ""


def how_trained(method: str) -> str:
    """For the tables: ``peft + HF Trainer``."""
    loop = "plain PyTorch loop (no HF Trainer here)" if missing("trainer") else "HF Trainer"
    if method in BY_FLAGS:
        return loop
    if method in BY_PEFT:
        return f"own module + {loop} (no peft here)" if missing("peft") else f"peft + {loop}"
    return f"own module + {loop}"


# ---------------------------------------------------------------- models


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

    def __init__(self, backbone: Backbone, trial: Configuration, outputs: int = OUTPUTS) -> None:
        super().__init__()
        self.pack = Pack(backbone, [PackTrial(METHODS[trial.method].modifications(trial.hyper_parameters), 0)], outputs)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss and logits, as Trainer wants them."""
        logits = self.pack(input_ids[None], attention_mask[None]).logits[0]
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


# ---------------------------------------------------------------- training


def trainer_arguments(device: torch.device, precision: PeerPrecision, **settings: Any) -> dict[str, Any]:
    """Arguments of `transformers.TrainingArguments` that are the same in every benchmark."""
    return {
        "output_dir": tempfile.gettempdir(),  # nothing is saved
        "use_cpu": device.type == "cpu",
        "bf16": precision != "fp32",
        "optim": "adamw_torch_fused",
        "max_grad_norm": 1.0,
        "weight_decay": 0.0,
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": device.type == "cuda",
        "learning_rate": RATE,
        **settings,
    }


def by_trainer(
    model: nn.Module, examples: Sequence[Example], work: Work, device: torch.device, precision: PeerPrecision, tick: Any
) -> None:
    """Steps by HF Trainer; `tick` is called after each."""
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    class Ticks(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            tick()

    arguments = TrainingArguments(
        **trainer_arguments(device, precision, per_device_train_batch_size=work.batch, max_steps=work.warmup + work.steps)
    )
    trainer = Trainer(model, arguments, train_dataset=list(examples), callbacks=[Ticks()])
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def by_plain_loop(
    model: nn.Module, examples: Sequence[Example], work: Work, device: torch.device, precision: PeerPrecision, tick: Any
) -> None:
    """Steps by a loop that has no more than it needs; `tick` is called after each."""
    model.train().to(device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0, fused=True)
    batches: list[dict[str, Tensor]] = []
    for _ in range(work.warmup + work.steps):
        batches = batches or list(DataLoader(list(examples), batch_size=work.batch, shuffle=True, drop_last=True))
        batch = {name: values.to(device) for name, values in batches.pop().items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=precision != "fp32"):
            loss = model(**batch)["loss"]
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        tick()


class Peer:
    """Trains one configuration after the other on a random classifier of the given sizes."""

    def __init__(self, config: Any, backbone: Backbone, precision: PeerPrecision) -> None:
        """`config`: of transformers; `backbone`: ours, with the same sizes, for methods that peft doesn't have."""
        from transformers import AutoModelForSequenceClassification

        self.backbone, self.device, self.precision = backbone, backbone.device, precision
        self.base = AutoModelForSequenceClassification.from_config(config).to(self.device)

    def model(self, trial: Configuration) -> tuple[nn.Module, PeerPrecision]:
        """A fresh model for a configuration, and the precision to train it in."""
        by_peft = trial.method in BY_PEFT and not missing("peft")
        if trial.method not in BY_FLAGS and not by_peft:
            return OwnModule(self.backbone, trial), "fp32"  # a pack computes in the backbone's own precision, without autocast
        base = copy.deepcopy(self.base)
        if self.precision == "bf16 weights" and by_peft:
            base = base.to(torch.bfloat16)
        return tuned(base, trial.method, trial.hyper_parameters), self.precision

    def train(self, trial: Configuration, work: Work, after_step: Callable[[], None] = lambda: None) -> Timing:
        """Train a configuration for a few steps and time them; `after_step` is called after each, within the time of the next."""
        texts = random_texts(max(64, 2 * work.batch), work.tokens)
        examples = [
            {"input_ids": torch.tensor(ids), "attention_mask": torch.ones(len(ids), dtype=torch.long), "labels": torch.tensor(int(label))}
            for ids, label in zip(texts.input_ids, texts.labels, strict=True)
        ]
        clock, ends = StepClock(self.device), list[float]()

        def tick() -> None:
            ends.append(time.perf_counter())
            clock.tick()
            after_step()

        memory = AddedMemory(self.device)
        start = time.perf_counter()
        model, precision = self.model(trial)
        train = by_plain_loop if missing("trainer") else by_trainer
        train(model, examples, work, self.device, precision, tick)
        return Timing(clock.seconds()[work.warmup - 1 :], ends[0] - start, memory.bytes)


def fastest_precision(config: Any, backbone: Backbone, work: Work) -> tuple[PeerPrecision, dict[str, float]]:
    """The precision in which LoRA takes the least time a step, and each one's seconds."""
    lora = Configuration("lora", METHODS["lora"].defaults)
    found: dict[str, float] = {}
    for precision in get_args(PeerPrecision):
        if precision == "fp32" and backbone.device.type == "cuda":
            continue  # never the fastest there
        found[precision] = statistics.median(Peer(config, backbone, precision).train(lora, work).seconds)
    fastest: Any = min(found, key=lambda name: found[name])
    return fastest, found
