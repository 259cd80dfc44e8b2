"""Tables of encoders with a decoder: BART, T5 and their kin."""

from dataclasses import replace
from typing import Any

from pelt_automl.backbones.architecture import Architecture, Part, Stack
from pelt_automl.design_space import Site

_DENSE_HEAD = {"dense": "classification_head.dense", "out": "classification_head.out_proj"}


def _bart_sites(attention: str) -> dict[Site, str | Part]:
    return {
        Site.ATTENTION_QUERY: f"{attention}.q_proj",
        Site.ATTENTION_KEY: f"{attention}.k_proj",
        Site.ATTENTION_VALUE: f"{attention}.v_proj",
        Site.ATTENTION_OUTPUT: f"{attention}.out_proj",
        Site.ATTENTION: f"{attention}_layer_norm",
        Site.HEADS: attention,
    }


_BART_FFN: dict[Site, str | Part] = {Site.FFN_UP: "fc1", Site.FFN_DOWN: "fc2", Site.FFN: "final_layer_norm"}


def _bart_stacks(*, norm_first: bool) -> tuple[Stack, ...]:
    return (
        Stack("encoder.layers", _bart_sites("self_attn") | _BART_FFN, norm_first),
        Stack("decoder.layers", _bart_sites("self_attn") | _BART_FFN, norm_first),
        Stack("decoder.layers", _bart_sites("encoder_attn"), norm_first, cross=True),
    )


BART = Architecture(
    "bart",
    _bart_stacks(norm_first=False),
    "encoder.embed_tokens",
    "last",
    "tanh",
    {"hidden_size": "d_model", "num_attention_heads": "encoder_attention_heads", "intermediate_size": "encoder_ffn_dim"},
    ("dropout", "attention_dropout", "activation_dropout"),
    ("encoder_layerdrop", "decoder_layerdrop"),
    _DENSE_HEAD,
)
MBART = replace(BART, family="mbart", stacks=_bart_stacks(norm_first=True))


def _t5_sites(index: int, attention: str) -> dict[Site, str | Part]:
    inside = f"layer.{index}.{attention}"
    return {
        Site.ATTENTION_QUERY: f"{inside}.q",
        Site.ATTENTION_KEY: f"{inside}.k",
        Site.ATTENTION_VALUE: f"{inside}.v",
        Site.ATTENTION_OUTPUT: f"{inside}.o",
        Site.ATTENTION: f"layer.{index}.layer_norm",
        Site.HEADS: inside,
    }


def _t5_ffn(index: int, *, gated: bool) -> dict[Site, str | Part]:
    inside = f"layer.{index}"
    up: dict[Site, str | Part] = {Site.FFN_UP: f"{inside}.DenseReluDense.wi"}
    if gated:
        up = {Site.FFN_UP: f"{inside}.DenseReluDense.wi_1", Site.FFN_GATE: f"{inside}.DenseReluDense.wi_0"}
    return up | {Site.FFN_DOWN: f"{inside}.DenseReluDense.wo", Site.FFN: f"{inside}.layer_norm"}


def _t5_stacks(*, gated: bool) -> tuple[Stack, ...]:
    return (
        Stack("encoder.block", _t5_sites(0, "SelfAttention") | _t5_ffn(1, gated=gated), norm_first=True),
        Stack("decoder.block", _t5_sites(0, "SelfAttention") | _t5_ffn(2, gated=gated), norm_first=True),
        Stack("decoder.block", _t5_sites(1, "EncDecAttention"), norm_first=True, cross=True),
    )


T5 = Architecture(
    "t5",
    _t5_stacks(gated=False),
    "encoder.embed_tokens",
    "last",
    "tanh",
    {"hidden_size": "d_model", "num_hidden_layers": "num_layers", "num_attention_heads": "num_heads", "intermediate_size": "d_ff"},
    ("dropout_rate",),
    head_names=_DENSE_HEAD,
)
MT5 = replace(T5, family="mt5")
UMT5 = replace(T5, family="umt5")


def t5(table: Architecture, config: Any) -> Architecture:
    """T5 1.1, FLAN-T5 and mT5 have a gated feed-forward network."""
    return replace(table, stacks=_t5_stacks(gated=config.is_gated_act))
