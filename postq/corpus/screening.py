"""The last gate before a snapshot: normalise each record, refuse repeated ids, count everything."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from postq.corpus.facts import SourceFacts, WordFacts
from postq.corpus.normalise import HASH_BYTES, NormalisedDocument, normalise
from postq.corpus.records import RawRecord, SetAside, SetAsideReason, UnfitRecord
from postq.corpus.streams import Meter
from postq.counted import counted
from postq.errors import CorpusUnreadable

_NAME_THE_FIELDS = (
    "Name the fields with --id-column, --text-column and --labels-column, and give --form jsonl"
    " if these are no judgments in the source form."
)
_WHAT_TO_DO: dict[str, str] = {
    SetAsideReason.MISSING_ID: _NAME_THE_FIELDS,
    SetAsideReason.MISSING_TEXT: _NAME_THE_FIELDS,
    SetAsideReason.INVALID_UTF8: "Convert it, such as with: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW.",
}
"""The hint when not one record was usable, by the commonest reason."""
PROGRESS_RECORDS = 250
Progress = Callable[[int, Meter], None]
"""(records read so far, how far the files have been read); called every PROGRESS_RECORDS records"""


@dataclass(slots=True)
class Tally:
    """Counts of one pass over a source: 20 bytes per document, however long the documents are."""

    records_read: int = 0
    labelled: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, SetAside] = field(default_factory=dict)
    """The first record set aside for each reason."""
    labels: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    words: "array[int]" = field(default_factory=lambda: array("i"))
    hashes: bytearray = field(default_factory=bytearray)

    @property
    def documents(self) -> int:
        """Records that became documents."""
        return len(self.words)

    @property
    def set_aside(self) -> int:
        """Records that did not; together with `documents` always `records_read`."""
        return self.reasons.total()

    def count(self, item: NormalisedDocument | SetAside) -> None:
        """Count one record."""
        self.records_read += 1
        if isinstance(item, SetAside):
            self.reasons[str(item.reason)] += 1
            self.examples.setdefault(str(item.reason), item)
            return
        self.words.append(item.word_count)
        self.hashes += item.content_hash
        self.labels.update(item.labels)
        self.labelled += bool(item.labels)
        if item.split is not None:
            self.splits[item.split] += 1

    def facts(self, *, forms: Iterable[str]) -> SourceFacts:
        """All counts; raises CorpusUnreadable when not one document was usable."""
        self.require_documents()
        return SourceFacts(
            forms=tuple(sorted(forms)),
            records_read=self.records_read,
            documents=self.documents,
            set_aside=self.set_aside,
            reasons=dict(self.reasons.most_common()),
            label_counts=dict(sorted(self.labels.items(), key=lambda item: (-item[1], item[0]))),
            labelled_documents=self.labelled,
            exact_duplicates=self._exact_duplicates(),
            splits=dict(self.splits),
            words=self._word_facts(),
        )

    def _exact_duplicates(self) -> int:
        keys = np.frombuffer(bytes(self.hashes), dtype=[("high", "<u8"), ("low", "<u8")])
        return len(keys) - len(np.unique(keys))

    def _word_facts(self) -> WordFacts:
        words = np.frombuffer(self.words, dtype=np.int32)
        median, p75, p95, p99 = (round(float(at), 1) for at in np.percentile(words, [50, 75, 95, 99]))
        total = int(words.sum(dtype=np.int64))
        return WordFacts(
            total=total,
            mean=round(total / len(words), 1),
            median=median,
            p75=p75,
            p95=p95,
            p99=p99,
            longest=int(words.max()),
        )

    def require_documents(self) -> None:
        """Raise CorpusUnreadable when nothing usable was read, with the commonest reason and an example."""
        if self.documents:
            return
        reason, why = "", ""
        for reason, number in self.reasons.most_common(1):
            first = self.examples[reason]
            where = f"record {first.number} of '{first.source}'"
            why = f"; most often: {reason} ({number}), as {where}: {first.detail}"
        raise CorpusUnreadable(
            f"There is no usable document in {counted(self.records_read, 'record')}{why}.",
            hint=_WHAT_TO_DO.get(
                reason, "Check the form and the columns; `postq corpus validate` lists the records set aside."
            ),
        )


def screen(
    records: Iterable[RawRecord | SetAside], *, tally: Tally
) -> Iterator[NormalisedDocument | SetAside]:
    """Normalise each record, set aside what is unfit or repeats an id, and count all of it in `tally`.

    Ids are remembered as 16-byte digests: about 85 bytes of memory per document.
    """
    seen: set[bytes] = set()
    for record in records:
        item = record if isinstance(record, SetAside) else _screened(record, seen)
        tally.count(item)
        yield item


def _screened(record: RawRecord, seen: set[bytes]) -> NormalisedDocument | SetAside:
    try:
        document = normalise(record)
        key = hashlib.blake2b(record.document_id.encode(), digest_size=HASH_BYTES).digest()
        if key in seen:
            raise UnfitRecord(
                SetAsideReason.REPEATED_ID, "an earlier document has this id", document_id=record.document_id
            )
    except UnfitRecord as unfit:
        return unfit.set_aside(record.source, record.number)
    seen.add(key)
    return document


def survey(
    records: Iterable[RawRecord | SetAside],
    *,
    meter: Meter,
    on_set_aside: Callable[[SetAside], None] | None = None,
    progress: Progress | None = None,
) -> SourceFacts:
    """Read and count everything and write nothing: the dry run of a snapshot.

    `on_set_aside` is called for each record set aside. Raises what reading raises, and CorpusUnreadable
    when nothing was usable.
    """
    tally = Tally()
    for item in screen(records, tally=tally):
        if on_set_aside and isinstance(item, SetAside):
            on_set_aside(item)
        if progress and tally.records_read % PROGRESS_RECORDS == 0:
            progress(tally.records_read, meter)
    return tally.facts(forms=meter.forms)
