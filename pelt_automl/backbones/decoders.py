"""Tables of decoders: GPT-2, OPT, Llama and its kin."""

from dataclasses import replace
from typing import Any

from pelt_automl.backbones.architecture import Architecture, Part, Stack
from pelt_automl.design_space import Site

_SCORE = {"out": "score"}

GPT2 = Architecture(
    "gpt2",
    (
        Stack(
            "h",
            {
                Site.ATTENTION_QUERY: Part("attn.c_attn", 0, 3),
                Site.ATTENTION_KEY: Part("attn.c_attn", 1, 3),
                Site.ATTENTION_VALUE: Part("attn.c_attn", 2, 3),
                Site.ATTENTION_OUTPUT: "attn.c_proj",
                Site.ATTENTION: "ln_1",
                Site.FFN_UP: "mlp.c_fc",
                Site.FFN_DOWN: "mlp.c_proj",
                Site.FFN: "ln_2",
                Site.HEADS: "attn",
            },
            norm_first=True,
        ),
    ),
    "wte",
    "last",
    None,
    {"intermediate_size": "n_inner"},
    ("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    head_names=_SCORE,
    head_bias=False,
    counts_positions=True,
)

_OPT_STACK = Stack(
    "decoder.layers",
    {
        Site.ATTENTION_QUERY: "self_attn.q_proj",
        Site.ATTENTION_KEY: "self_attn.k_proj",
        Site.ATTENTION_VALUE: "self_attn.v_proj",
        Site.ATTENTION_OUTPUT: "self_attn.out_proj",
        Site.ATTENTION: "self_attn_layer_norm",
        Site.FFN_UP: "fc1",
        Site.FFN_DOWN: "fc2",
        Site.FFN: "final_layer_norm",
        Site.HEADS: "self_attn",
    },
    norm_first=True,
)
OPT = Architecture(
    "opt",
    (_OPT_STACK,),
    "decoder.embed_tokens",
    "last",
    None,
    {"intermediate_size": "ffn_dim", "embedding_size": "word_embed_proj_dim", "output_size": "word_embed_proj_dim"},
    ("dropout", "attention_dropout"),
    ("layerdrop",),
    head_names=_SCORE,
    head_bias=False,
    counts_positions=True,
)


def opt(table: Architecture, config: Any) -> Architecture:
    """OPT-350m alone has its norms after the residual connections."""
    return replace(table, stacks=(replace(_OPT_STACK, norm_first=config.do_layer_norm_before),))


_LLAMA_STACK = Stack(
    "layers",
    {
        Site.ATTENTION_QUERY: "self_attn.q_proj",
        Site.ATTENTION_KEY: "self_attn.k_proj",
        Site.ATTENTION_VALUE: "self_attn.v_proj",
        Site.ATTENTION_OUTPUT: "self_attn.o_proj",
        Site.ATTENTION: "input_layernorm",
        Site.FFN_UP: "mlp.up_proj",
        Site.FFN_GATE: "mlp.gate_proj",
        Site.FFN_DOWN: "mlp.down_proj",
        Site.FFN: "post_attention_layernorm",
        Site.HEADS: "self_attn",
    },
    norm_first=True,
)
LLAMA = Architecture(
    "llama", (_LLAMA_STACK,), "embed_tokens", "last", None,
    dropout_names=("attention_dropout",), head_names=_SCORE, head_bias=False, counts_positions=True,
)  # fmt: skip
MISTRAL = replace(LLAMA, family="mistral")
QWEN2 = replace(LLAMA, family="qwen2")
QWEN3 = replace(LLAMA, family="qwen3")
GEMMA = replace(LLAMA, family="gemma")

_SANDWICH = replace(
    _LLAMA_STACK,
    sites={**_LLAMA_STACK.sites, Site.FFN: "pre_feedforward_layernorm"},
    writes={Site.ATTENTION: "post_attention_layernorm", Site.FFN: "post_feedforward_layernorm"},
)
"""A norm before each sublayer and one behind it, whose output goes to the residual stream."""

GEMMA2 = replace(LLAMA, family="gemma2", stacks=(_SANDWICH,))
GEMMA3 = replace(GEMMA2, family="gemma3_text")
