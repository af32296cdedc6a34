"""The members inside an ensemble's folder: whole bundles of their own, and whether they fit each other."""

from collections.abc import Sequence
from itertools import combinations

from postq.contracts.recipes import EnsembleMethod
from postq.counted import counted
from postq.errors import BadInput, BundleUnusable, LabelSetMismatch, LeakRefused
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.manifest import MEMBERS
from postq.learning.bundle.opening import open_bundle
from postq.learning.bundle.split_file import read_split

TWO_ONLY = ("mean_logit", "cascade")
BY_DECISION = ("and", "or", "cascade")
"""Methods that take over what the members decide at their own thresholds."""
MOST_MEMBERS = 8
"""Each is loaded to score, and their files count towards the most a bundle may hold."""


def open_members(bundle: Bundle) -> list[Bundle]:
    """The verified members of a verified ensemble, in order. Raises BundleUnusable, DigestMismatch."""
    folder = bundle.path / MEMBERS
    digests = getattr(bundle.recipe, "members", ())
    members = [open_bundle(folder / str(at), expected_digest=digest) for at, digest in enumerate(digests)]
    if not 2 <= len(members) <= MOST_MEMBERS or any(member.labels != bundle.labels for member in members):
        raise BundleUnusable(
            f"The ensemble at {bundle.path} does not hold its members with its own labels.",
            hint="Make the ensemble again with: postq bundles ensemble.",
        )
    return members


def require_fit(members: Sequence[Bundle], *, method: EnsembleMethod) -> None:
    """Refuse bundles that cannot be combined honestly.

    Raises LabelSetMismatch for other labels, LeakRefused for another split (one would be judged on what the
    other learned from), BadInput for a number the method does not take, the same bundle twice or texts read
    in different views.
    """
    if not 2 <= len(members) <= MOST_MEMBERS:
        raise BadInput(
            f"An ensemble has 2 to {MOST_MEMBERS} members, not {len(members)}.",
            hint="Name at least two bundles; an ensemble may itself be a member.",
        )
    if method in TWO_ONLY and len(members) != 2:
        raise BadInput(
            f"{method} takes two members, not {len(members)}.",
            hint="Use --method stacking, or combine two first and the result with the third.",
        )
    _require_no_rules(members, method=method)
    for one, other in combinations(members, 2):
        if one.model_digest == other.model_digest:
            raise BadInput(
                f"'{one.name}' and '{other.name}' are the same model.",
                hint="Name bundles that were trained apart.",
            )
    for other in members[1:]:
        _require_alike(members[0], other)


def _require_no_rules(members: Sequence[Bundle], *, method: EnsembleMethod) -> None:
    ruled = [member.name for member in members if member.thresholds.rules is not None]
    if ruled and method in BY_DECISION:
        raise BadInput(
            f"'{ruled[0]}' decides by rules between labels, which {method} cannot take over: it joins "
            "distances to thresholds.",
            hint="Make it anew without: postq rethreshold BUNDLE --rules off; or combine by mean_logit.",
        )


def _require_alike(first: Bundle, second: Bundle) -> None:
    if first.labels != second.labels:
        own, other = set(first.labels), set(second.labels)
        raise LabelSetMismatch(
            f"'{first.name}' predicts {counted(len(own), 'label')}, '{second.name}' {len(other)}, and "
            f"{len(own ^ other)} of them are not in both, or they stand in another order.",
            hint="Train both on the same corpus version with the same label options.",
        )
    if _assignment(first) != _assignment(second):
        raise LeakRefused(
            f"'{first.name}' and '{second.name}' divided the documents differently: one was trained on what "
            "the other is judged on.",
            hint="Train both on the same corpus version with the same split and seed.",
        )
    if first.recipe.text != second.recipe.text:
        raise BadInput(
            f"'{first.name}' reads {first.recipe.text}, '{second.name}' {second.recipe.text}.",
            hint="Train both with the same `text` view.",
        )


def _assignment(bundle: Bundle) -> frozenset[tuple[bytes, str]]:
    """Which content lay in which split."""
    return frozenset((entry.content_hash, entry.split) for entry in read_split(bundle.path))
