"""What keeps a trained method from becoming a part of the backbone's weights, and of a plain transformers model."""

from collections.abc import Mapping, Sequence

from pelt_automl.backbones.linear_maps import linear_map
from pelt_automl.backbones.loading import Backbone
from pelt_automl.design_space import SUBLAYERS, Form, Insertion, Modification, Site
from pelt_automl.modifications import bridged

FOLDABLE = frozenset({Form.LINEAR, Form.RELU, Form.SCALE, Form.BIAS, Form.FULL, Form.PEFT})
"""Forms that can become weights, at the right sites."""

ACTIVATION_NAMES = ("hidden_act", "activation_function", "activation", "dense_act_fn")
"""Configuration entries with the feed-forward network's non-linearity."""

FFN_MAPS = (Site.FFN_UP, Site.FFN_DOWN)
"""The maps of a feed-forward network that an adapter can make wider."""

_READS = {
    "cls": "the first token",
    "pooler": "the first token through the pretrained pooler",
    "mean": "the mean over the tokens",
    "last": "the last token",
    "tokens": "every token",
}


def why_not_folded(modification: Modification, backbone: Backbone) -> str | None:
    """Why a modification can't become part of the backbone's weights; None if it can."""
    m, table = modification, backbone.architecture
    if m.gate:
        return "its gate opens differently for each example, and a weight is the same for all"
    if is_prompt(m):
        return "trained embeddings in front of the text are no weights of the model; --peft can keep them"
    if m.form is Form.SUBSPACE:
        return "it changes the hidden states of some tokens alone, and a weight acts on all"
    if m.form not in FOLDABLE:
        return "attention over trained keys and values is no change of a weight"
    if m.form is Form.LINEAR and m.site is Site.HEADS:
        return "its change goes from the queries past the attention to the output; there is no weight on that way"
    if m.form is Form.LINEAR and m.site in SUBLAYERS:
        return "its change runs beside or behind a whole sublayer, where the backbone has no linear map of its own"
    if m.form is Form.RELU:
        return _why_not_widened(m, backbone)
    if m.site in SUBLAYERS and any(m.site in stack.writes for stack in table.stacks):
        return f"what the {m.site} sublayer of {table.family} puts out isn't the output of a linear map"
    return None


def is_prompt(modification: Modification) -> bool:
    """Whether it puts trained embeddings before those of the text, ours or peft's."""
    if modification.form is Form.PEFT:
        return bridged.read_config(modification.peft)[0] in bridged.PROMPT_TYPES
    return modification.form is Form.PROMPT


def _why_not_widened(m: Modification, backbone: Backbone) -> str | None:
    """Why a bottleneck with a non-linearity can't be units of a feed-forward network; None if it can."""
    family, model = backbone.architecture.family, backbone.model
    own = next((getattr(model.config, name) for name in ACTIVATION_NAMES if hasattr(model.config, name)), None)
    if m.site is not Site.FFN or m.insertion is not Insertion.PARALLEL:
        return "a non-linearity stands between its two maps, so that they aren't one matrix"
    if Site.FFN_GATE in backbone.architecture.sites or any(Site.FFN in stack.writes for stack in backbone.architecture.stacks):
        return f"the feed-forward network of {family} isn't two maps with a non-linearity between them, so that it can't take it up"
    if own != m.activation:
        return f"its non-linearity is {m.activation} and that of the feed-forward network of {family} is {own}, so that it can't take it up"
    maps = (linear_map(layer, site) for layer in backbone.layers() if not layer.stack.cross for site in FFN_MAPS)
    return None if all(place.bias is not None for place in maps) else f"the feed-forward network of {family} has no biases, the adapter has"


def in_the_way(m: Modification, others: Sequence[Modification]) -> str | None:
    """What else changes the output that an adapter is added to, so that its place in the order matters; None without such."""
    if m.form is not Form.RELU:
        return None
    after = [o for o in others if o.site in (Site.FFN, Site.FFN_DOWN) and o.insertion is Insertion.SEQUENTIAL and o.form is Form.LINEAR]
    after += [o for o in others if o.site is Site.FFN and o.form is Form.SCALE]
    return f"{after[0].name} changes what the network puts out that the adapter would become a part of" if after else None


def plain_when_folded(modifications: Sequence[Modification], backbone: Backbone) -> bool:
    """Whether a method leaves the backbone's own architecture behind, with other weights, once it is folded.

    An adapter that becomes units of a feed-forward network makes it wider, and only peft knows what it can merge: both say no here.
    """
    return all(m.form not in (Form.RELU, Form.PEFT) and why_not_folded(m, backbone) is None for m in modifications)


def head_names(backbone: Backbone) -> Mapping[str, str]:
    """Where `transformers`' model for this kind of task keeps the head's maps (see `Architecture.head_names`)."""
    return {"out": backbone.architecture.answer_head} if backbone.pooling == "tokens" else backbone.architecture.head_names


def why_no_head(backbone: Backbone, labels_mean: float) -> list[str]:
    """Why `transformers`' model for this kind of task can't take the trained head: every reason.

    `labels_mean`: what regression takes off its labels; 0 for classification.
    """
    table, found = backbone.architecture, []
    if backbone.pooling == "tokens":
        own = f"transformers' question answering of {table.family} has another kind of head than the one that was trained"
        return [] if table.answer_head else [own]
    if not table.head_names:
        found.append(f"transformers' classification model of {table.family} has another kind of head than the one that was trained")
    elif backbone.pooling != table.pooling:
        found.append(
            f"the trained head reads {_READS[backbone.pooling]}; transformers' classification model of {table.family} "
            f"reads {_READS[table.pooling]}"
        )
    if labels_mean and not table.head_bias:
        found.append(
            f"regression trains on standardized labels, and the head of {table.family} has no bias that could hold "
            f"their mean ({labels_mean:g})"
        )
    return found
