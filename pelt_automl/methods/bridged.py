"""Methods that HF `peft` carries out, as a table: peft's own names and defaults, and where they come from. No torch, no peft here."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pelt_automl.design_space import Form, Modification, Site
from pelt_automl.errors import SettingsError
from pelt_automl.methods.method import LEARNING_RATE, PeltMethod
from pelt_automl.methods.values import wrong_value


@dataclass(frozen=True)
class BridgedMethod(PeltMethod):
    """One method of `peft`.

    Its hyper-parameters are the published ones, and beyond them any other field of peft's configuration class, by peft's own name. Such
    a field is checked where peft is at hand: when a search space is loaded, and before a model is.
    """

    peft_type: str = ""
    """As in peft's ``PeftType``."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Fields that make it this method; they can't be set."""
    published: Mapping[str, Any] = field(default_factory=dict)
    """Fields with their published defaults."""

    @property
    def defaults(self) -> dict[str, Any]:
        """The published configuration, without the fields that keep peft's default."""
        return {LEARNING_RATE: self.learning_rate, **self.published}

    def unknown(self, names: Iterable[str]) -> list[str]:
        """What is wrong with names of hyper-parameters, as far as it can be said without peft."""
        return [f"{name} is what makes it {self.name}, so it can't be set" for name in sorted(set(names) & set(self.fixed))]

    def plain(self, name: str, value: Any) -> Any:
        """The value itself. Raises `SettingsError` where its kind isn't that of the published default."""
        default = self.defaults.get(name)
        if default is not None and (wrong := wrong_value(type(default), value)):
            raise SettingsError(f"{name} is {wrong}")
        return value


def _build(name: str, given: Mapping[str, Any], **fields: Any) -> tuple[Modification, ...]:
    """One Modification with the whole configuration; the rest is peft's."""
    return (Modification(name, Site.EVERYTHING, Form.PEFT, peft=json.dumps({**given, **fields}, sort_keys=True)),)


def _method(
    name: str,
    peft_type: str,
    summary: str,
    source: str,
    rate: float,
    *,
    fixed: Mapping[str, Any] | None = None,
    slow_starter: bool = False,
    **published: Any,
) -> BridgedMethod:
    settings = dict(fixed or {})
    return BridgedMethod(
        name=f"peft-{name}",
        summary=summary,
        source=source,
        learning_rate=rate,
        build=partial(_build, f"peft-{name}", {"peft_type": peft_type, **settings, **published}),
        slow_starter=slow_starter,
        peft_type=peft_type,
        fixed=settings,
        published=published,
    )


_AS_LORA = "learning rate as LoRA's in UniPELT's comparison"
_HIGHER = "learning rate ours: fewer parameters want a higher one"
_UNSAVED: dict[str, Any] = {"save_projection": False}  # frozen projections come from a seed in the configuration: nothing to store

_TABLE = (
    _method(
        "dora", "LORA", "LoRA with the magnitude of each weight column apart from its direction",
        f"Liu et al. 2024 (DoRA), alpha = 2 r; {_AS_LORA}", 5e-4, fixed={"use_dora": True}, r=8, lora_alpha=16,
    ),
    _method(
        "rslora", "LORA", "LoRA scaled by alpha / sqrt(r)", f"Kalajdzievski 2023 (rsLoRA); {_AS_LORA}", 5e-4,
        fixed={"use_rslora": True}, r=8, lora_alpha=16,
    ),
    _method(
        "pissa", "LORA", "LoRA that starts at the weights' largest singular directions",
        "Meng et al. 2024 (PiSSA), alpha = r; learning rate ours, below LoRA's: the factors start large", 2e-4,
        fixed={"init_lora_weights": "pissa"}, r=8, lora_alpha=8,
    ),
    _method(
        "olora", "LORA", "LoRA that starts at an orthonormal basis from a QR decomposition",
        "Büyükakyüz 2024 (OLoRA), alpha = r; learning rate ours, below LoRA's: the factors start large", 2e-4,
        fixed={"init_lora_weights": "olora"}, r=8, lora_alpha=8,
    ),
    _method(
        "adalora", "ADALORA", "LoRA whose ranks are allocated by importance during the training",
        "Zhang et al. 2023 (AdaLoRA): budget 1.5 times the target at the start, orthogonality weighted 0.1, learning rate of its GLUE runs;"
        " alpha as in peft's example", 1e-3,
        init_r=12, target_r=8, lora_alpha=32, tinit_share=0.1, tfinal_share=0.3, deltaT=1, orth_reg_weight=0.1,
    ),
    _method(
        "vera", "VERA", "two trained vectors around random projections that all layers share",
        "Kopiczko et al. 2024 (VeRA): d_initial 0.1, learning rate of its GLUE runs; rank as in peft", 4e-3,
        fixed=_UNSAVED, r=256, d_initial=0.1,
    ),
    _method(
        "oft", "OFT", "block-diagonal rotations of the weights", "Qiu et al. 2023 (OFT); block size as in peft; learning rate ours", 1e-3,
        oft_block_size=32, coft=False,
    ),
    _method(
        "boft", "BOFT", "rotations of the weights by butterfly factors",
        "Liu et al. 2024 (BOFT) with one factor: peft has more only where it compiles for CUDA; block size as in peft, rate ours", 1e-3,
        fixed={"boft_n_butterfly_factor": 1}, boft_block_size=4,
    ),
    _method("ln", "LN_TUNING", "the layer norms", f"Zhao et al. 2024 (LN-tuning); {_HIGHER}", 1e-3),
    _method(
        "p-tuning", "P_TUNING", "a prompt made by a small network (P-tuning v1)",
        "Liu et al. 2021 (P-tuning); 20 tokens, width 128 and learning rate as in peft's sequence classification guide", 1e-3,
        slow_starter=True, num_virtual_tokens=20, encoder_hidden_size=128, encoder_reparameterization_type="MLP",
    ),
    _method(
        "ia3", "IA3", "factors for keys, values and feed-forward activations, at the maps that peft picks",
        "Liu et al. 2022 ((IA)3); learning rate: best mean of Poth et al. 2023, table 3", 5e-3,
    ),
    _method(
        "miss", "MISS", "one shared matrix, repeated over the weight", f"Kang and Yin 2024 (MiSS); rank as in peft; {_AS_LORA}", 5e-4, r=64,
    ),
    _method(
        "loha", "LOHA", "a Hadamard product of two low-rank products",
        f"Hyeon-Woo et al. 2022 (FedPara); r and alpha as in peft; {_AS_LORA}", 5e-4, r=8, alpha=8,
    ),
    _method(
        "lokr", "LOKR", "a Kronecker product with a low-rank factor", f"Yeh et al. 2024 (LyCORIS); r and alpha as in peft; {_HIGHER}", 1e-3,
        r=8, alpha=8,
    ),
    _method(
        "fourierft", "FOURIERFT", "few frequencies of the weights' change",
        "Gao et al. 2024 (FourierFT): 1,000 frequencies, scaled by 150; started at 0, the backbone itself; learning rate ours", 1e-2,
        fixed={"init_weights": True}, n_frequency=1000, scaling=150.0,
    ),
    _method(
        "waveft", "WAVEFT", "few wavelet coefficients of the weights' change",
        "Bilican et al. 2025 (WaveFT); coefficients and scale as in peft; learning rate ours", 1e-3, n_frequency=2592, scaling=25.0,
    ),
    _method("hra", "HRA", "a chain of Householder reflections", f"Yuan et al. 2024 (HRA), r=8; {_HIGHER}", 1e-3, r=8),
    _method(
        "randlora", "RANDLORA", "scaled sums of random low-rank matrices, full in rank",
        f"Albert et al. 2025 (RandLoRA), alpha = 20 r; {_AS_LORA}", 5e-4, fixed=_UNSAVED, r=32, randlora_alpha=640,
    ),
    _method(
        "vblora", "VBLORA", "LoRA factors mixed from one bank of vectors",
        "Li et al. 2024 (VB-LoRA): r=4, top 2; bank as in peft; learning rate of the paper's bank", 1e-3,
        r=4, num_vectors=256, vector_length=256, topk=2,
    ),
    _method(
        "road", "ROAD", "two-dimensional rotations of the maps' outputs",
        f"Liao and Monz 2024 (RoAd); group size as in peft; {_HIGHER}", 1e-3,
        variant="road_1", group_size=64,
    ),
    _method(
        "c3a", "C3A", "block-circular convolutions", f"Chen et al. 2025 (C3A); block size as in peft; {_HIGHER}", 1e-3, block_size=256,
    ),
    _method(
        "delora", "DELORA", "LoRA with direction and strength decoupled, the strength bounded",
        "Bini et al. 2025 (DeLoRA): r=8, lambda=15; learning rate ours", 1e-3, r=8, delora_lambda=15,
    ),
    _method(
        "gralora", "GRALORA", "LoRA block by block", f"Jung et al. 2025 (GraLoRA); sizes as in peft; {_AS_LORA}", 5e-4,
        r=32, alpha=64, gralora_k=2,
    ),
    _method(
        "hira", "HIRA", "a low-rank matrix times the weight, entry by entry", f"Huang et al. 2025 (HiRA), r=32; {_HIGHER}", 1e-3, r=32,
    ),
    _method(
        "psoft", "PSOFT", "rotations in the weights' principal subspace",
        f"PSOFT (openreview FSHrinMArK); rank as in peft; {_HIGHER}", 1e-3, r=32, psoft_alpha=32,
    ),
    _method(
        "deft", "DEFT", "a low-rank projection away from the weight, and a low-rank addition",
        f"DEFT, as peft has it; rank as in peft; {_AS_LORA}", 5e-4,
        r=8, decomposition_method="relu",
    ),
    _method(
        "peanut", "PEANUT", "a change that a small network computes from the weight",
        f"PEANuT (arXiv 2410.01870); rank as in peft; {_AS_LORA}", 5e-4, r=32, act_fn="relu",
    ),
    _method("beft", "BEFT", "the value maps' biases", f"BEFT (arXiv 2509.15974); {_HIGHER}", 1e-3),
    _method(
        "super", "SUPERTUNING", "the largest weights of each map",
        f"Super-Tuning (arXiv 2607.09287), one weight in a hundred; {_HIGHER}", 1e-3,
        fixed={"save_precomputed_indices": False}, sparsity=0.99, select_top=True,
    ),
)  # fmt: skip

BRIDGED: dict[str, PeltMethod] = {method.name: method for method in _TABLE}
"""By name."""

NATIVE = {
    "LORA": "lora; peft's variants of it are bridged",
    "PREFIX_TUNING": "prefix; with reparameterization false it is P-tuning v2",
    "PROMPT_TUNING": "prompt",
}
"""By peft's type: the method of ours that covers it, so that its trials share packs."""

_TASKS = "it mixes several tasks by their number, and a selection has one"
_STORED = "what has to be stored of it is more than twice what it trains"
_BY_WEIGHTS = "its layout depends on the weights themselves, so that nothing can be said of it before a model is loaded"

LEFT_OUT = {
    "ADAMSS": _BY_WEIGHTS,
    "ADAPTION_PROMPT": "peft has it for decoders of Llama's kind and GPT-2 alone",
    "CARTRIDGE": "it compresses one long text into a prefix, which isn't tuning to labels",
    "CPT": "it takes its prompt from the tokens of worked examples, for language modeling alone",
    "FROD": _BY_WEIGHTS,
    "GLORA": "some of its tensors never get a gradient",
    "LILY": f"{_STORED}: peft writes what layers share once for each layer",
    "MULTITASK_PROMPT_TUNING": _TASKS,
    "OSF": "it trains nearly every weight, for continual learning",
    "POLY": _TASKS,
    "PVERA": "it draws random numbers in every step that no trial's seed decides",
    "SHADOW": "it trains a second, smaller model beside a decoder",
    "SHIRA": _STORED,
    "TINYLORA": _STORED,
    "TRAINABLE_TOKENS": "it trains the embeddings of tokens that are added to the vocabulary",
    "UNILORA": _BY_WEIGHTS,
    "XLORA": "it mixes adapters that have been trained before",
}
"""By peft's type: why it isn't bridged."""
