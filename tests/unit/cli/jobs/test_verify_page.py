"""What `postq verify` shows fits a terminal of 80 columns."""

from collections.abc import Callable

from postq.cli.jobs.verdict import Verdict
from postq.cli.jobs.verify_page import verify_page
from postq.contracts.specs import JobKind
from postq.jobs.verify import Verification
from postq.models import JobState

DIGEST = "89a138c401cfac5893d6d49869acd5318a85a73d053566394ff75c8af87234ce"


def test_a_digest_that_people_compare_stands_on_one_line(printed: Callable[..., str]) -> None:
    rows = Verification(
        job_id=2,
        kind=JobKind.CLASSIFY,
        state=JobState.SUCCEEDED,
        coverage_checked=True,
        problems=(),
        documents=2_995,
        predicted=2_995,
        quarantined=0,
        skipped=0,
        digest=DIGEST,
    )
    page = verify_page(Verdict(rows=rows, bundle=1, bundle_digest=DIGEST, folder_problems=()))
    assert DIGEST in printed(page, width=80)
