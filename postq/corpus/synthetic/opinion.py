"""Writing one synthetic opinion: caption, facts, procedural history, discussion, conclusion, to a length."""

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any

from postq.corpus.synthetic.case import Case
from postq.corpus.synthetic.ontology import Ontology
from postq.corpus.synthetic.phrases import Phrasebook, PostureWords, Topic

SILENT_SHARE = 0.02
"""Labels the text does not speak of at all: what annotators knew and the text does not say."""
FAINT_SHARE = 0.10
"""Labels spoken of in weak words only."""
FALSE_SHARE = 0.03
"""Documents that speak fully of a posture they were not given: what annotators missed."""
LATE_SHARE = 0.2
"""Documents whose postures are spoken of in the discussion only, well after the beginning."""

NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")

WORDS_PER_RETURN = 500
"""A long opinion comes back to its postures, up to once in so many words."""

Section = dict[str, Any]


class OpinionWriter:
    """Writes opinions in the source form's sections; everything random comes from the `rng` of each call."""

    def __init__(self, ontology: Ontology, phrases: Phrasebook) -> None:
        self._ontology = ontology
        self._phrases = phrases
        self._names = list(ontology.postures)
        # Common postures are mentioned in passing more often, though less than their counts would say.
        self._passing = [posture.documents**0.5 for posture in ontology.postures.values()]

    def sections(self, labels: frozenset[str], *, words: int, rng: Random) -> list[Section]:
        """Sections of an opinion of about `words` words whose postures are `labels`."""
        topic = self._topic(labels, rng)
        criminal = "Appellate Review" in labels
        case = Case(self._phrases, topic=topic, criminal=criminal, rng=rng)
        told = self._evidence(labels, words, case, rng)
        passing = self._mentions(labels, words, case, rng)
        return _Draft(self._phrases, case, labels, rng).sections(told=told, passing=passing, words=words)

    def _topic(self, labels: frozenset[str], rng: Random) -> Topic:
        groups = {self._ontology.postures[label].group for label in labels}
        fitting = [topic for topic in self._phrases.topics if topic.groups & groups]
        if "Review of Administrative Decision" in labels and rng.random() < 0.8:
            fitting = [topic for topic in fitting if "administrative" in topic.groups]
        return rng.choice(fitting or self._phrases.topics)

    def _evidence(self, labels: frozenset[str], words: int, case: Case, rng: Random) -> list[str]:
        """Sentences that speak of the document's postures, in the order of a telling."""
        told: list[str] = []
        for label in sorted(labels):
            told += self._about(self._phrases.postures[label], words, case, rng, draw=rng.random())
        if rng.random() < FALSE_SHARE:
            (other,) = rng.choices(self._names, weights=self._passing)
            told += self._about(self._phrases.postures[other], words, case, rng, draw=1.0)
        return told

    def _about(self, posture: PostureWords, words: int, case: Case, rng: Random, *, draw: float) -> list[str]:
        if draw < SILENT_SHARE:
            return []
        hints = [
            case.fill(hint) for hint in rng.sample(posture.hints, rng.randrange(1, len(posture.hints) + 1))
        ]
        if draw < SILENT_SHARE + FAINT_SHARE:
            return hints
        strong = posture.says or self._phrases.words["motion_frames"]
        movant, opponent = case.sides()
        motion = {"movant": movant, "opponent": opponent, "ruled": rng.choice(self._phrases.words["rulings"])}
        count = rng.randrange(2, 5) + int(rng.random() * words / WORDS_PER_RETURN)
        chosen = _drawn(strong, count, rng)
        if posture.names and rng.random() < 0.6:
            chosen.append(rng.choice(self._phrases.words["motion_conclusions"]))
        told = [self._motion(phrase, posture, case, rng, **motion) for phrase in chosen]
        return told + hints[: rng.randrange(0, 3)]

    def _mentions(self, labels: frozenset[str], words: int, case: Case, rng: Random) -> list[str]:
        """Sentences that mention other postures in passing: the longer the text, the more of them."""
        count = rng.randrange(1, 4) + min(6, int(words / 2500 * rng.random() * 2))
        others = [
            name for name in rng.choices(self._names, weights=self._passing, k=count) if name not in labels
        ]
        return [self._mention(self._phrases.postures[name], case, rng) for name in others]

    def _mention(self, words: PostureWords, case: Case, rng: Random) -> str:
        if rng.random() < 0.15:
            return case.fill(rng.choice(words.hints))
        return self._motion(rng.choice(words.asides or self._phrases.words["aside_frames"]), words, case, rng)

    def _motion(self, frame: str, words: PostureWords, case: Case, rng: Random, **motion: str) -> str:
        if not words.names:
            return case.fill(frame)
        return case.fill(frame, name=rng.choice(words.names), grounds=rng.choice(words.grounds), **motion)


def _drawn(phrases: Sequence[str], count: int, rng: Random) -> list[str]:
    """`count` phrases, each used once before any is used again."""
    rounds = -(-count // len(phrases))
    return [phrase for _ in range(rounds) for phrase in rng.sample(phrases, len(phrases))][:count]


class _Draft:
    """One opinion being laid out."""

    def __init__(self, phrases: Phrasebook, case: Case, labels: frozenset[str], rng: Random) -> None:
        self._words = phrases.words
        self._headings = phrases.headings
        self._case = case
        self._labels = labels
        self._rng = rng
        self._on_appeal = bool(labels & {"On Appeal", "Appellate Review", "Certified Question"})

    def sections(self, *, told: Sequence[str], passing: Sequence[str], words: int) -> list[Section]:
        late = self._rng.random() < LATE_SHARE
        early = [] if late else list(told[: (len(told) + 1) // 2])
        room = max(0, words - 80 - sum(len(sentence.split()) for sentence in (*told, *passing)))
        facts = list(self._sentences(("narration",) * 9 + ("quotations",), room * 0.4))
        discussion = [
            *told[len(early) :],
            *passing,
            *self._sentences(("reasoning",) * 7 + ("narration",), room * 0.6),
        ]
        self._rng.shuffle(discussion)
        laid = [
            self._section("background", [*self._opening(), *facts]),
            self._section("history", early),
            self._section("standard", self._standard(words)),
            *self._discussion(discussion),
            self._section("conclusion", self._closing()),
        ]
        return [self._caption(), *self._styled([section for section in laid if section["paragraphs"]])]

    def _styled(self, sections: list[Section]) -> list[Section]:
        """Headings in the house style of one court: plain, in capitals, or numbered."""
        style = self._rng.choice(("plain", "capitals", "numbered"))
        for number, section in zip(NUMERALS, sections, strict=False):
            if style != "plain":
                section["headtext"] = section["headtext"].upper()
            if style == "numbered":
                section["headtext"] = f"{number}. {section['headtext']}"
        return sections

    def _caption(self) -> Section:
        case = self._case
        court = f"IN THE COURT OF APPEALS OF {case['state'].upper()}"
        if not self._on_appeal:
            court = f"{case['county'].upper()} COUNTY, STATE OF {case['state'].upper()}"
        return {
            "headtext": court,
            "paragraphs": [self._parties(), self._docket(), f"{case['judge'].upper()}, J."],
        }

    def _docket(self) -> str:
        case, rng = self._case, self._rng
        kind = "CR" if "Appellate Review" in self._labels else rng.choice(("CV", "CA", "AP"))
        number = f"{case.year - rng.randrange(0, 3)}-{kind}-{rng.randrange(100, 9999):04d}"
        month = rng.choice(self._words["months"])
        return f"No. {number}. Decided {month} {rng.randrange(1, 29)}, {case.year}."

    def _parties(self) -> str:
        case = self._case
        roles = ("Plaintiff", "Defendant")
        if "Appellate Review" in self._labels:
            return f"STATE OF {case['state'].upper()}, v. {case['full_defendant'].upper()}."
        if "Review of Administrative Decision" in self._labels and self._rng.random() < 0.7:
            return f"{case['petitioner']}, Petitioner, v. {case['agency']}, Respondent."
        if "On Appeal" in self._labels and self._rng.random() < 0.7:
            roles = ("Appellant", "Appellee")
        return f"{case['appellant']}, {roles[0]}, v. {case['appellee']}, {roles[1]}."

    def _opening(self) -> list[str]:
        if self._on_appeal:
            return []
        name = "trial_openings" if self._labels else "other_openings"
        return [self._case.fill(self._rng.choice(self._words[name]))]

    def _closing(self) -> list[str]:
        name = "appeal_closings" if self._on_appeal else "trial_closings"
        return [self._case.fill(self._rng.choice(self._words[name]))]

    def _standard(self, words: int) -> list[str]:
        if words < 400 or self._rng.random() < 0.3:
            return []
        return [self._case.fill(phrase) for phrase in self._rng.sample(self._words["standards"], 2)]

    def _discussion(self, sentences: Sequence[str]) -> Iterator[Section]:
        """The discussion, in long opinions under several headings."""
        points = min(1 + len(sentences) // 60, len(self._headings["points"]))
        size = -(-len(sentences) // points) if sentences else 1
        for point in range(points):
            part = sentences[point * size : (point + 1) * size]
            if point == 0:
                yield self._section("discussion", part)
            else:
                heading = self._headings["points"][point - 1]
                yield {"headtext": heading, "paragraphs": self._paragraphs(part)}

    def _section(self, kind: str, sentences: Iterable[str]) -> Section:
        return {
            "headtext": self._rng.choice(self._headings[kind]),
            "paragraphs": self._paragraphs(list(sentences)),
        }

    def _paragraphs(self, sentences: Sequence[str]) -> list[str]:
        paragraphs = []
        start = 0
        while start < len(sentences):
            stop = start + self._rng.randrange(3, 8)
            paragraphs.append(" ".join(sentences[start:stop]))
            start = stop
        return paragraphs

    def _sentences(self, kinds: Sequence[str], room: float) -> Iterator[str]:
        """Sentences of the given kinds until `room` words are filled."""
        while room > 0:
            sentence = self._case.fill(self._rng.choice(self._words[self._rng.choice(kinds)]))
            room -= len(sentence.split())
            yield sentence
