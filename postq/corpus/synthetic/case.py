"""One invented case: its parties, courts and dates, and the words that fill the slots of a phrase."""

from collections.abc import Callable
from random import Random

from postq.corpus.synthetic.phrases import Phrasebook, Topic

YEARS_OF_CASE = 4
OTHER_TOPIC_SHARE = 0.12
"""How often a fact or a rule strays from the case's own topic."""


class Case(dict[str, str]):
    """Fills slots such as `{date}` or `{fact}`: parties stay the same, everything else is drawn anew."""

    def __init__(self, phrases: Phrasebook, *, topic: Topic, criminal: bool, rng: Random) -> None:
        super().__init__()
        self._phrases = phrases
        self._topic = topic
        self._rng = rng
        self._choose = rng.choice
        self._slots: dict[str, Callable[[], str]] = {
            "date": lambda: self._dated(self._rng.random()),
            "day": self._next_day,
            "later": lambda: self._dated(1 + self._rng.random() / YEARS_OF_CASE),
            "season": lambda: self._word("seasons"),
            "case": self._citation,
            "statute": self._statute,
            "fact": self._fact,
            "fact_upper": lambda: _capitalised(self._fact()),
            "issue": lambda: self._choose(self._some_topic().issues),
            "rule": lambda: self._choose(self._some_topic().rules),
            "person": self._person,
            "amount": lambda: f"${rng.randrange(12, 9_800) * 50:,}",
            "days": lambda: str(rng.randrange(2, 90)),
            "number": lambda: str(rng.randrange(1, 60)),
            "party": lambda: self._choose((self["appellant"], self["appellee"])),
            "judge": lambda: self._word("surnames"),
            "year": lambda: str(self.year - rng.randrange(1, 25)),
            "ruled": lambda: self._word("rulings"),
        }
        self._untold: list[str] = []
        self._told = 0.0
        self.year = rng.randrange(1994, 2020)
        self._set_parties(criminal=criminal)

    def __missing__(self, slot: str) -> str:
        return self._slots[slot]()

    def sides(self) -> tuple[str, str]:
        """The two parties, the one that moves first."""
        sides = (self["appellant"], self["appellee"])
        return sides if self._rng.random() < 0.5 else sides[::-1]

    def fill(self, phrase: str, **fixed: str) -> str:
        """`phrase` with its slots filled; `fixed` slots win and may hold slots themselves."""
        self["movant"], self["opponent"] = self.sides()
        if fixed:
            phrase = phrase.format_map(_Kept(fixed))
        return _capitalised(phrase.format_map(self))

    def _set_parties(self, *, criminal: bool) -> None:
        first, second = self._party(), self._party()
        person = self._person()
        state = self._word("states")
        self.update(
            appellant=person.rpartition(" ")[2] if criminal else first,
            appellee="the State" if criminal else second,
            defendant=person.rpartition(" ")[2],
            full_defendant=person,
            petitioner=first,
            minor=f"{self._word('surnames')[0]}.{self._word('surnames')[0]}.",
            agency=self._word("agencies"),
            crime=self._word("crimes"),
            term=self._word("terms"),
            judgment=self._word("judgments"),
            count=self._word("counts"),
            court_below=self._word("trial_courts"),
            state=state,
            county=self._word("counties"),
        )

    def _word(self, name: str) -> str:
        return self._choose(self._phrases.words[name])

    def _some_topic(self) -> Topic:
        stray = self._rng.random() < OTHER_TOPIC_SHARE
        return self._choose(self._phrases.topics) if stray else self._topic

    def _party(self) -> str:
        if self._rng.random() < 0.45:
            return f"{self._word('company_stems')} {self._word('company_ends')}".rstrip(".")
        return self._word("surnames")

    def _person(self) -> str:
        return f"{self._word('given_names')} {self._word('surnames')}"

    def _fact(self) -> str:
        """A fact not yet told, until all of the topic's have been."""
        if self._rng.random() < OTHER_TOPIC_SHARE:
            fact = self._choose(self._choose(self._phrases.topics).facts)
        else:
            if not self._untold:
                self._untold = self._rng.sample(self._topic.facts, len(self._topic.facts))
            fact = self._untold.pop()
        return f"{fact} {self._word('adjuncts').format_map(self)}" if self._rng.random() < 0.15 else fact

    def _next_day(self) -> str:
        """A date a little after the one before, so that a story moves forward."""
        self._told += (1 - self._told) * 0.08 * self._rng.random()
        return self._dated(self._told)

    def _dated(self, place: float) -> str:
        """A date between the beginning of the affair (0) and the year of the decision (1)."""
        months = int(place * 12 * YEARS_OF_CASE)
        year = self.year - YEARS_OF_CASE + months // 12
        return f"{self._phrases.words['months'][months % 12]} {self._rng.randrange(1, 29)}, {year}"

    def _citation(self) -> str:
        volume, page = self._rng.randrange(40, 990), self._rng.randrange(1, 1400)
        place = f"{self._word('circuits')} {self.year - self._rng.randrange(1, 40)}"
        parties = f"{self._word('surnames')} v. {self._party()}"
        return f"{parties}, {volume} {self._word('reporters')} {page} ({place})"

    def _statute(self) -> str:
        return (
            f"section {self._rng.randrange(10, 9900)}({self._choose('abcdef')}) of the {self['state']} Code"
        )


class _Kept(dict[str, str]):
    """Leaves slots it does not know as they are, for a second filling."""

    def __missing__(self, slot: str) -> str:
        return f"{{{slot}}}"


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
