"""Loading an encoder with a multi-label head from a folder or the Hub: safetensors only, no remote code."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LEDModel,
)

from postq.contracts.recipes import HeadName
from postq.counted import counted
from postq.errors import BundleUnusable
from postq.learning.encoder.backbones.fit import (
    check_config,
    check_labels,
    check_positions,
    check_tokenizer,
    check_weights,
)
from postq.learning.encoder.backbones.label_names import encoded_names
from postq.learning.encoder.backbones.led import longformer_config, longformer_from_led
from postq.learning.encoder.backbones.positions import extend_positions, position_capacity
from postq.learning.encoder.backbones.quiet import quiet_transformers
from postq.learning.encoder.forward.label_attention import LabelAttentionClassifier

HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
LOADING_ERRORS = (OSError, ValueError, KeyError, RuntimeError, TypeError, ImportError, SafetensorError)


class Backbone:
    """A classifier and the tokenizer it belongs with."""

    def __init__(self, model: nn.Module, tokenizer: Any, *, source: str) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.source = source

    @property
    def piece_tokens(self) -> int:
        """The longest sequence the model takes, special tokens counted."""
        return position_capacity(self.model)


def load_backbone(
    source: str,
    *,
    labels: tuple[str, ...],
    max_tokens: int,
    chunked: bool = False,
    extend: bool = False,
    attention_dropout: float | None = None,
    head: HeadName = "pooled",
) -> Backbone:
    """A backbone with a fresh head of `labels`, float32, on the CPU.

    The head's weights are drawn from torch's global generator: seed it first. `extend` tiles the position
    table up to `max_tokens`; without it a table that is too short raises, unless the text is read in chunks.
    `attention_dropout` replaces the backbone's own. A label attention starts from the labels' names.
    Raises BundleUnusable with what is wrong and how to mend it.
    """
    quiet_transformers()
    require_source(source)
    config = _load_config(source, labels=labels)
    check_config(config)
    if attention_dropout is not None:
        _set_attention_dropout(config, attention_dropout)
    tokenizer = _load_tokenizer(source)
    model = _load_led(source, config) if config.model_type == "led" else _load_model(source, config)
    check_tokenizer(tokenizer, model)
    check_weights(model)
    if extend:
        extend_positions(model, tokens=max_tokens)
    if not chunked:
        check_positions(model, tokens=max_tokens)
    if head == "label_attention":
        model = _with_label_attention(model, tokenizer, labels)
    return Backbone(model, tokenizer, source=source)


def check_backbone(source: str) -> None:
    """Raise BundleUnusable when the folder or the Hub has no such model, or none postq takes; cheap."""
    quiet_transformers()
    require_source(source)
    check_config(_from_pretrained(AutoConfig, source))


def load_classifier(folder: Path, *, labels: tuple[str, ...], head: HeadName = "pooled") -> Backbone:
    """A trained classifier from a bundle's folder, float32, on the CPU; raises BundleUnusable."""
    quiet_transformers()
    source = str(folder)
    config = _from_pretrained(AutoConfig, source)
    check_config(config)
    check_labels_in_config(config, labels=labels)
    tokenizer = _load_tokenizer(source)
    model = _load_model(source, config, fresh_head=head != "pooled")
    check_labels(model, labels=len(labels))
    check_tokenizer(tokenizer, model)
    if head == "label_attention":
        model = attending = LabelAttentionClassifier(_base(model), labels=len(labels))
        attending.load_head(folder)
    check_weights(model)
    return Backbone(model.eval(), tokenizer, source=source)


def _with_label_attention(
    model: nn.Module, tokenizer: Any, labels: tuple[str, ...]
) -> LabelAttentionClassifier:
    attending = LabelAttentionClassifier(_base(model), labels=len(labels))
    names = encoded_names(attending, tokenizer, labels, piece_tokens=position_capacity(model))
    attending.head.look_for(names)
    return attending


def _base(model: Any) -> nn.Module:
    """The encoder without its classifier."""
    base: nn.Module = model.base_model
    return base


def check_labels_in_config(config: Any, *, labels: tuple[str, ...]) -> None:
    """The names in config.json must be the bundle's labels, in order."""
    stored = tuple(config.id2label[index] for index in sorted(config.id2label))
    if stored != labels:
        raise BundleUnusable(
            f"config.json names {counted(len(stored), 'label')}, and not the bundle's {len(labels)}.",
            hint="Use the folder as the training wrote it.",
        )


def require_source(source: str) -> None:
    """`source` must be an existing folder, or look like a Hub id."""
    if Path(source).is_dir():
        if not (Path(source) / "config.json").is_file():
            raise BundleUnusable(
                f"The folder {source} has no config.json.", hint="Give a folder in the Hub's layout."
            )
        return
    if source.startswith((".", "/", "~")) or not HUB_ID.match(source):
        raise BundleUnusable(
            f"There is no folder {source}.", hint="Give an existing folder or a Hub id such as owner/name."
        )


def _load_config(source: str, *, labels: tuple[str, ...]) -> Any:
    names = dict(enumerate(labels))
    return _from_pretrained(
        AutoConfig,
        source,
        num_labels=len(labels),
        id2label=names,
        label2id={label: index for index, label in names.items()},
        problem_type="multi_label_classification",
    )


def _set_attention_dropout(config: Any, value: float) -> None:
    for name in ("attention_probs_dropout_prob", "attention_dropout"):
        if hasattr(config, name):
            setattr(config, name, value)


def _load_tokenizer(source: str) -> Any:
    return _from_pretrained(AutoTokenizer, source)


def _load_model(source: str, config: Any, *, fresh_head: bool = True) -> nn.Module:
    loaded: tuple[nn.Module, dict[str, Any]] = _from_pretrained(
        AutoModelForSequenceClassification,
        source,
        config=config,
        use_safetensors=True,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    model, info = loaded
    _refuse_partial(model, info, source=source, fresh_head=fresh_head)
    return model


def _load_led(source: str, config: Any) -> nn.Module:
    whole = _from_pretrained(LEDModel, source, config=config, use_safetensors=True, dtype=torch.float32)
    return longformer_from_led(whole.encoder, longformer_config(config))


def _refuse_partial(model: nn.Module, info: dict[str, Any], *, source: str, fresh_head: bool) -> None:
    """A fresh head may be missing from the file, or be of another size; nothing else may."""
    absent = [str(name) for name in info.get("missing_keys", ())]
    clashing = [str(entry[0]) for entry in info.get("mismatched_keys", ())]
    wrong = [name for name in (*absent, *clashing) if not (fresh_head and _is_head(model, name))]
    if wrong:
        state = "have another shape" if wrong[0] in clashing else "are missing"
        raise BundleUnusable(
            f"{len(wrong)} weights of {source} {state} for its config, such as '{wrong[0]}'.",
            hint="Use a folder whose config.json and weights were saved together.",
        )


def _is_head(model: nn.Module, name: str) -> bool:
    base = f"{model.base_model_prefix}."
    return not name.startswith(base) or name.startswith(f"{base}pooler.")


def _from_pretrained(loader: Any, source: str, **options: Any) -> Any:
    try:
        return loader.from_pretrained(
            source, trust_remote_code=False, local_files_only=Path(source).is_dir(), **options
        )
    except LOADING_ERRORS as exc:
        raise _explained(source, exc) from exc


def _first_sentence(text: str) -> str:
    """What went wrong; the advice that transformers adds is longer, and we have our own."""
    return re.split(r"(?<=[.!?]) (?=[A-Z])", text, maxsplit=1)[0]


def _explained(source: str, exc: Exception) -> BundleUnusable:
    reason = " ".join(str(exc).split())[:300]
    if not Path(source).is_dir():
        return BundleUnusable(
            f"The model '{source}' could not be fetched from the Hub: {_first_sentence(reason)}",
            hint="Check the name and the network, or give a local folder with the model's files.",
        )
    if not list(Path(source).glob("*.safetensors")):
        return BundleUnusable(
            f"The folder {source} holds no safetensors weights.",
            hint="Save the model with safetensors; pickled weights are never loaded.",
        )
    return BundleUnusable(f"The model in {source} cannot be loaded: {reason}", hint="Use an undamaged copy.")
