"""The model card of a bundle: README.md with the Hub's front matter."""

from collections.abc import Mapping
from typing import Any

import yaml

from postq.contracts.recipes import BundleRecipe, EncoderRecipe


def model_card(
    *,
    name: str,
    recipe: BundleRecipe,
    labels: tuple[str, ...],
    corpus: str,
    metrics: Mapping[str, Any],
) -> str:
    """Markdown with front matter; the figures are those of metrics.json, test split, default thresholds."""
    front = yaml.safe_dump(_front_matter(recipe), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n".join(_body(name, recipe, labels, corpus, metrics)) + "\n"


def _front_matter(recipe: BundleRecipe) -> dict[str, Any]:
    library = "transformers" if isinstance(recipe, EncoderRecipe) else "postq"
    front: dict[str, Any] = {
        "library_name": library,
        "pipeline_tag": "text-classification",
        "tags": ["postq", "multi-label", "legal", recipe.model],
    }
    if isinstance(recipe, EncoderRecipe):
        front["base_model"] = (
            recipe.backbone.rsplit("/", 2)[-1] if recipe.backbone[:1] in "/." else recipe.backbone
        )
    return front


def _body(
    name: str,
    recipe: BundleRecipe,
    labels: tuple[str, ...],
    corpus: str,
    metrics: Mapping[str, Any],
) -> list[str]:
    shown = ", ".join(f"`{label}`" for label in labels[:40])
    more = f" and {len(labels) - 40} more" if len(labels) > 40 else ""
    return [
        f"# {name}",
        "",
        f"Multi-label classifier ({recipe.model}, preset `{recipe.preset}`) trained by postq on `{corpus}`.",
        "",
        *_figures(metrics),
        f"**Labels** ({len(labels)}): {shown}{more}.",
        "",
        "A label is predicted when its score reaches its threshold in `thresholds.json`. `split.parquet`",
        "lists the documents of every split; figures on training or validation documents are not evidence.",
        "`manifest.json` holds the size and SHA-256 of every file, the recipe and the library versions.",
        *_about_rules(metrics),
        *_about_head(recipe),
    ]


def _about_rules(metrics: Mapping[str, Any]) -> list[str]:
    if not metrics.get("rules", {}).get("kept"):
        return []
    return ["", "Rules between labels, in `thresholds.json` too, decide after the thresholds."]


def _about_head(recipe: BundleRecipe) -> list[str]:
    if not isinstance(recipe, EncoderRecipe) or recipe.head == "pooled":
        return []
    return [
        "",
        "Logits come from a label attention head in `label_attention.safetensors`, which postq applies.",
        "Plain transformers loads the backbone alone: `AutoModel`, no `ForSequenceClassification`.",
    ]


def _figures(metrics: Mapping[str, Any]) -> list[str]:
    rows = [row for row in metrics.get("comparison", []) if row.get("split") == "test"]
    if not rows:
        return []
    lines = ["| model | thresholds | micro-F1 | macro-F1 |", "|---|---|---|---|"]
    for row in rows:
        lines.append(
            f"| {row['model']} | {row['thresholds']} | {row['micro_f1']:.3f} | {row['macro_f1']:.3f} |"
        )
    return ["Test split:", "", *lines, ""]
