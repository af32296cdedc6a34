"""Which labels each synthetic document carries, so that counts and co-occurrences follow the ontology."""

from random import Random

from postq.corpus.synthetic.ontology import Ontology, Posture

UNKNOWN_STAGE_SHARE = 0.5
"""How often a label whose stages were not counted is put on a document with a stage."""
ON_APPEAL = "On Appeal"
TRIES = 8


def plan_labels(ontology: Ontology, *, documents: int, rng: Random) -> list[frozenset[str]]:
    """A set of labels for each of `documents`, in random order.

    Every label has its share of the counted documents, rounded so that the sum is kept. Stage labels are laid
    first, then known pairs, then each other label on documents of the stages it was counted with. The rest
    stays unlabelled.
    """
    plan = _Plan(ontology, documents=documents, rng=rng)
    plan.lay_stages()
    plan.lay_pairs()
    plan.lay_others()
    rng.shuffle(plan.documents)
    return [frozenset(labels) for labels in plan.documents]


class _Plan:
    """The documents' labels while they are being dealt out."""

    def __init__(self, ontology: Ontology, *, documents: int, rng: Random) -> None:
        self.documents: list[set[str]] = [set() for _ in range(documents)]
        self._ontology = ontology
        self._rng = rng
        self._scale = documents / ontology.documents_counted
        self._left = self._counts()
        self._fresh = list(range(round(documents * (1 - ontology.unlabelled_share))))
        self._fresh.reverse()
        self._of_stage: dict[str, list[int]] = {}

    def lay_stages(self) -> None:
        """Stage labels: together where that is known, otherwise each on documents of its own."""
        for posture in self._ontology.postures.values():
            if not posture.is_stage:
                continue
            places: list[int] = []
            for other, count in self._shared(posture).items():
                pool = [place for place in self._of_stage.get(other, []) if len(self.documents[place]) == 1]
                places += pool[-count:] if count else []
            missing = self._left[posture.name] - len(places)
            places += [self._fresh.pop() for _ in range(min(missing, len(self._fresh)))]
            for place in places:
                self._put(place, posture.name)
            self._of_stage[posture.name] = places
        self._rng.shuffle(self._fresh)

    def lay_pairs(self) -> None:
        """Pairs of other labels whose joint count is known, a narrower label and its parent among them."""
        postures = self._ontology.postures
        for pair, count in self._ontology.together.items():
            first, second = sorted(pair)
            if not postures[first].is_stage:
                self._lay_both(postures[first], second, self._scaled(count))
        for posture in postures.values():
            if posture.parent:
                self._lay_both(
                    posture, posture.parent, self._rounded(self._left[posture.name] * posture.with_parent)
                )

    def lay_others(self) -> None:
        """Every remaining occurrence of every label that is not a stage."""
        for posture in self._ontology.postures.values():
            for _ in range(0 if posture.is_stage else self._left[posture.name]):
                self._put(self._place_for(posture), posture.name)

    def _lay_both(self, posture: Posture, other: str, count: int) -> None:
        for _ in range(count):
            place = self._place_for(posture)
            self._put(place, posture.name)
            self._put(place, other)

    def _place_for(self, posture: Posture) -> int:
        """A document of a fitting stage that lacks the label, rather one without another motion."""
        pool = self._of_stage.get(self._stage_for(posture), [])
        if not pool:
            if self._fresh:
                return self._fresh.pop()
            pool = [place for place, labels in enumerate(self.documents) if labels] or [0]
        tried = [self._rng.choice(pool) for _ in range(TRIES)]
        fitting = [place for place in tried if posture.name not in self.documents[place]]
        return min(fitting or tried, key=lambda place: len(self.documents[place]))

    def _stage_for(self, posture: Posture) -> str:
        draw = self._rng.random()
        for stage, share in (posture.stages or {ON_APPEAL: UNKNOWN_STAGE_SHARE}).items():
            if draw < share:
                return stage
            draw -= share
        return ""

    def _shared(self, posture: Posture) -> dict[str, int]:
        """Documents a stage label shares with each stage laid before it."""
        known = {
            stage: self._rounded(self._left[posture.name] * share) for stage, share in posture.stages.items()
        }
        for pair, count in self._ontology.together.items():
            if posture.name in pair:
                (other,) = pair - {posture.name}
                if other in self._of_stage:
                    known[other] = self._scaled(count)
        return known

    def _put(self, place: int, label: str) -> None:
        if label not in self.documents[place]:
            self.documents[place].add(label)
            self._left[label] -= 1

    def _counts(self) -> dict[str, int]:
        """Documents per label; what rounding takes from one goes to the next, so that none is lost."""
        counts = {}
        exact = given = 0.0
        for name, posture in self._ontology.postures.items():
            exact += posture.documents * self._scale
            counts[name] = self._rounded(exact - given)
            given += counts[name]
        return counts

    def _scaled(self, count: int) -> int:
        return self._rounded(count * self._scale)

    def _rounded(self, value: float) -> int:
        return int(value + 0.5)
