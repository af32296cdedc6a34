"""How rules are told: a sentence, and what a bundle's row keeps of them."""

from collections.abc import Mapping
from typing import Any

from postq.counted import counted

SHOWN = 20
"""Rules a bundle's row keeps; its folder keeps all."""


def rules_in_short(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """`{"rules": …}` for a row: the sentence, and the first rules in force; {} where none were asked for."""
    facts = metrics.get("rules")
    if not facts:
        return {}
    kept = [each for each in facts["candidates"] if each["chosen"]] if facts["kept"] else []
    return {
        "rules": {
            "choice": facts["choice"],
            "kept": facts["kept"],
            "count": len(kept),
            "gain": facts["gain"],
            "sentence": rules_sentence(facts),
            "first": kept[:SHOWN],
        }
    }


def rules_sentence(facts: Mapping[str, Any]) -> str:
    """What was tried, what it gained on documents it was not chosen on, and what is done with it."""
    candidates = len(facts["candidates"])
    if not candidates:
        return (
            f"{facts['choice']}: no rule is borne out by {counted(facts['mined_on'], 'training document')}."
        )
    chosen = sum(each["chosen"] for each in facts["candidates"])
    change = facts["gain"]["mean_f1"]
    gain = f"{change['value']:+.3f} ({change['low']:+.3f} to {change['high']:+.3f})"
    told = f"cross-fitted, mean of micro- and macro-F1 {gain}"
    if facts["kept"]:
        return f"{facts['choice']}: {chosen} of {counted(candidates, 'rule')} kept; {told}."
    return (
        f"{facts['choice']}: none of {counted(candidates, 'rule')} kept, since they gain too little; {told}."
    )


def rule_sentence(rule: Mapping[str, Any]) -> str:
    """One rule with its evidence."""
    low, high = rule["interval"]
    verb = "brings" if rule["kind"] == "implies" else "outranks"
    share = f"{rule['together']:,} of {rule['documents']:,} training documents"
    return f"{rule['given']} {verb} {rule['other']}: both on {share} ({100 * low:.0f} to {100 * high:.0f} %)"
