"""Write the reference tensors of AdapterHub's `adapters` that test_adapters.py compares this package with.

Runs in an environment of its own (requirements.txt; `make parity`), never in the package's: `adapters` 1.3.0 needs transformers 4.57.
One file an architecture holds the backbone's weights; one file a case holds what `adapters` trains, the inputs, and what comes out.
Everything is drawn from fixed seeds, so that a second run writes the same bytes.
"""

import argparse
import json
import logging
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import adapters
import torch
import transformers
from adapters import ConfigUnion, DoubleSeqBnConfig, LoRAConfig, MAMConfig, ParBnConfig, PrefixTuningConfig, SeqBnConfig, UniPELTConfig
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import BartConfig, BartModel, BertConfig, BertModel, GPT2Config, GPT2Model, LlamaConfig, LlamaModel

FOLDER = Path(__file__).parent / "references"
METHOD = "method"
"""The name that the method has inside the model; no part of a backbone's tensor is called so."""
PAD, END = 1, 2
LENGTHS = (9, 5, 7)
"""Real tokens of each example of the batch, the end token included."""

NO_DROPOUT = {"attention_dropout": 0.0, "activation_dropout": 0.0, "dropout": 0.0}
SIZES = {"vocab_size": 60, "pad_token_id": PAD, "eos_token_id": END, "bos_token_id": 0, "attn_implementation": "eager"}
"""`eager`: with `sdpa`, `adapters` 1.3.0 hides the prefix on architectures with boolean masks (README.md, "What we found")."""

LAYERED = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24, "max_position_embeddings": 40}

ARCHITECTURES: dict[str, tuple[type[nn.Module], Any]] = {
    "bert": (BertModel, BertConfig(**SIZES, **LAYERED, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)),
    "bart": (
        BartModel,
        BartConfig(
            **SIZES,
            **NO_DROPOUT,
            d_model=16,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=24,
            decoder_ffn_dim=24,
            max_position_embeddings=40,
            decoder_start_token_id=END,
            forced_eos_token_id=None,
        ),
    ),
    "gpt2": (
        GPT2Model,
        GPT2Config(
            **SIZES,
            n_embd=16,
            n_layer=2,
            n_head=4,
            n_inner=24,
            n_positions=40,
            attn_pdrop=0.0,
            embd_pdrop=0.0,
            resid_pdrop=0.0,
            use_cache=False,
        ),
    ),
    # Two heads of keys and values for four of queries.
    "llama": (LlamaModel, LlamaConfig(**SIZES, **LAYERED, num_key_value_heads=2, attention_dropout=0.0, use_cache=False)),
}


def _prefix(**options: Any) -> PrefixTuningConfig:
    """A prefix in the form in which it is kept, without the MLP that makes it while it is trained."""
    return PrefixTuningConfig(flat=True, prefix_length=3, **options)


def _pfeiffer() -> SeqBnConfig:
    return SeqBnConfig(reduction_factor=4)


def _houlsby(**options: Any) -> DoubleSeqBnConfig:
    return DoubleSeqBnConfig(reduction_factor=4, **options)


def _parallel(scaling: float = 1.0) -> ParBnConfig:
    return ParBnConfig(reduction_factor=2, scaling=scaling)


def _lora(**options: Any) -> LoRAConfig:
    return LoRAConfig(r=3, alpha=6, **options)


def _unipelt(**gating: Any) -> UniPELTConfig:
    """`UniPELTConfig` sets `use_gating` in its three parts, whatever they were given."""
    return UniPELTConfig(prefix_tuning=_prefix(**gating), adapter=_pfeiffer(), lora=_lora())


@dataclass(frozen=True)
class Case:
    """One method on one architecture."""

    architecture: str
    method: str
    config: Any
    padded: bool = True

    @property
    def name(self) -> str:
        """Name of the reference's file."""
        return f"{self.architecture}-{self.method}"


CASES = (
    Case("bert", "pfeiffer", _pfeiffer()),
    Case("bert", "pfeiffer-attention", SeqBnConfig(reduction_factor=4, mh_adapter=True, output_adapter=False)),
    Case("bert", "houlsby", _houlsby()),
    Case("bert", "parallel-adapter", _parallel()),
    Case("bert", "scaled-parallel-adapter", _parallel(scaling=4.0)),
    Case("bert", "parallel-adapter-attention", ParBnConfig(reduction_factor=2, scaling=4.0, mh_adapter=True, output_adapter=False)),
    Case("bert", "prefix", _prefix()),
    Case("bert", "prefix-mlp", PrefixTuningConfig(flat=False, prefix_length=3, bottleneck_size=5)),
    Case("bert", "mam", MAMConfig(_prefix(), _parallel(scaling=4.0))),
    Case("bert", "lora", _lora()),
    Case("bert", "lora-all", _lora(attn_matrices=["q", "k", "v"], intermediate_lora=True, output_lora=True)),
    Case("bert", "unipelt-apl", _unipelt()),
    Case("bert", "unipelt-apl-unpadded", _unipelt(), padded=False),
    Case("bert", "unipelt-apl-split", _unipelt(shared_gating=False)),
    Case("bert", "unipelt-ap", ConfigUnion(_prefix(use_gating=True), _pfeiffer().replace(use_gating=True))),
    Case("bert", "unipelt-nogate", ConfigUnion(_prefix(), _pfeiffer(), _lora())),
    Case("bart", "houlsby", _houlsby()),
    Case("bart", "houlsby-cross", _houlsby(cross_adapter=True)),
    Case("bart", "parallel-adapter", _parallel()),
    Case("bart", "prefix", _prefix()),
    Case("bart", "prefix-unpadded", _prefix(), padded=False),
    Case("bart", "lora", _lora()),
    Case("bart", "unipelt-apl", _unipelt()),
    Case("bart", "mam", MAMConfig(_prefix(), _parallel(scaling=4.0))),
    Case("bart", "pfeiffer", _pfeiffer()),
    Case("gpt2", "pfeiffer", _pfeiffer()),
    Case("gpt2", "houlsby", _houlsby()),
    Case("gpt2", "prefix", _prefix()),
    Case("gpt2", "prefix-unpadded", _prefix(), padded=False),
    Case("gpt2", "parallel-adapter", _parallel()),
    Case("gpt2", "lora", _lora()),
    Case("gpt2", "unipelt-apl", _unipelt()),
    Case("llama", "pfeiffer", _pfeiffer()),
    Case("llama", "houlsby", _houlsby()),
    Case("llama", "prefix", _prefix()),
    Case("llama", "prefix-unpadded", _prefix(), padded=False),
    Case("llama", "lora", _lora()),
    Case("llama", "unipelt-apl", _unipelt()),
)


def _generator(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def _scatter(model: nn.Module, name: str, std: float, *, around: float) -> None:
    """Draw every parameter anew: `around` times its value plus N(0, std), so that none is at its neutral start."""
    generator = _generator(name)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.copy_(around * parameter + torch.randn(parameter.shape, generator=generator) * std)


def build_backbone(architecture: str) -> Any:
    """A tiny model of the architecture with random weights, always the same, without dropout."""
    kind, config = ARCHITECTURES[architecture]
    torch.manual_seed(0)
    model = kind(config)
    _scatter(model, architecture, 0.15, around=1.0)
    return model.eval()


def batch(name: str, *, padded: bool) -> dict[str, Tensor]:
    """Token ids and attention mask, ``(3, 9)``; each example ends with the end token, padding stands on the right."""
    lengths = LENGTHS if padded else (max(LENGTHS),) * len(LENGTHS)
    ids = torch.randint(3, SIZES["vocab_size"], (len(lengths), max(lengths)), generator=_generator(f"{name} ids"))
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, length - 1] = END
        ids[row, length:] = PAD
        mask[row, :length] = 1
    return {"input_ids": ids, "attention_mask": mask}


def positions(case: Case, mask: Tensor) -> dict[str, Tensor]:
    """Position ids counted from the mask, as this package gives them to decoders.

    Without them only padding would stand elsewhere; but a gate's mean over all positions reads padding, too.
    """
    return {"position_ids": (mask.cumsum(1) - 1).clamp_min(0)} if case.architecture in ("gpt2", "llama") else {}


def with_method(case: Case) -> Any:
    """The backbone with the case's method added by `adapters`, active, and every tensor of it drawn from N(0, 0.3)."""
    model = build_backbone(case.architecture)
    adapters.init(model)
    model.add_adapter(METHOD, config=case.config)
    model.train_adapter(METHOD)
    model.set_active_adapters(METHOD)
    trained = nn.ParameterDict({name.replace(".", "/"): p for name, p in model.named_parameters() if p.requires_grad})
    _scatter(trained, case.name, 0.3, around=0.0)
    return model.eval()


def reference(case: Case) -> dict[str, Tensor]:
    """All tensors of one case: inputs, trained tensors, outputs, gates, and gradients of ``sum(last_hidden_state * probe)``.

    The probe has the size of a mean over tokens, so that gradients are of the order of 1, where float32 resolves 1e-7, and is 0 on
    padding, whose states mean nothing.
    """
    model, inputs = with_method(case), batch(case.architecture, padded=case.padded)
    output = model(**inputs, **positions(case, inputs["attention_mask"]), output_adapter_gating_scores=True)
    hidden = output.last_hidden_state
    real = inputs["attention_mask"].unsqueeze(2)
    probe = torch.randn(hidden.shape, generator=_generator(f"{case.architecture} probe")) * real / real.sum()
    (hidden * probe).sum().backward()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {
        **inputs,
        "probe": probe,
        "last_hidden_state": hidden.detach() * real,
        **{f"weight/{name}": parameter.detach() for name, parameter in trained.items()},
        **{f"gradient/{name}": parameter.grad for name, parameter in trained.items()},
        **gate_scores(case, output.adapter_gating_scores),
    }


def gate_scores(case: Case, scores: dict[str, dict[int, dict[str, Any]]]) -> dict[str, Tensor]:
    """By layer and location, ``(B, gates)``: LoRA's at query and value in this order, a split prefix gate's for key and value.

    An ungated bottleneck adapter stores its up-projection under the name of a score (adapters/methods/bottleneck.py:236-250):
    locations whose part of the configuration has no gate are left out.
    """
    parts = case.config.configs if isinstance(case.config, ConfigUnion) else [case.config]
    if not any(part.use_gating for part in parts):
        return {}
    return {
        f"gate/{layer}/{location}": torch.tensor(values).reshape(len(LENGTHS), -1)
        for layer, locations in scores[METHOD].items()
        for location, values in locations.items()
    }


def _write(name: str, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """One file; its single metadata entry keeps the header's order, and so its bytes, the same in every run."""
    about |= {"adapters": adapters.__version__, "transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]}
    about["command"] = f"python {Path(sys.argv[0]).name}"
    whole = {key: tensor.contiguous().clone() for key, tensor in sorted(tensors.items())}
    save_file(whole, FOLDER / f"{name}.safetensors", metadata={"about": json.dumps(about, sort_keys=True)})


def main() -> None:
    """Write every reference, or those whose names are given."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("names", nargs="*", help="architectures and cases; all of them without a name")
    wanted = set(arguments.parse_args().names)
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # `adapters` makes a pass when a method is added, and warns that it isn't active yet
    FOLDER.mkdir(exist_ok=True)
    for architecture, (_, config) in ARCHITECTURES.items():
        if not wanted or architecture in wanted:
            _write(architecture, build_backbone(architecture).state_dict(), {"config": config.to_diff_dict()})
    for case in CASES:
        if not wanted or case.name in wanted:
            _write(case.name, reference(case), {"architecture": case.architecture, "method": case.config.to_dict()})
            print(case.name)


if __name__ == "__main__":
    main()
