"""The charts of a report, in the order of the page."""

from dataclasses import dataclass

from postq.reports.charts.chart import Chart
from postq.reports.charts.course import course_charts
from postq.reports.charts.lengths import length_chart
from postq.reports.charts.ranking import precision_recall_chart
from postq.reports.charts.reliability import calibration_chart
from postq.reports.charts.thresholds import sweep_chart
from postq.reports.content import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCharts:
    """What is drawn; the optional ones are None when the scores behind them were not kept."""

    course: tuple[Chart, ...]
    baseline_course: tuple[Chart, ...]
    precision_recall: Chart | None
    sweep: Chart | None
    calibration: Chart | None
    lengths: Chart | None


def draw_report(report: Report, *, prefix: str = "c") -> ReportCharts:
    """Draw everything; `prefix` keeps ids apart when several reports share a page."""
    return ReportCharts(
        course=tuple(course_charts(report.course, name=f"{prefix}-course")),
        baseline_course=tuple(
            course_charts(report.baseline_course, name=f"{prefix}-baseline") if report.baseline_course else ()
        ),
        precision_recall=precision_recall_chart(report.precision_recall, name=f"{prefix}-pr")
        if report.precision_recall
        else None,
        sweep=sweep_chart(report.sweep, name=f"{prefix}-sweep") if report.sweep else None,
        calibration=calibration_chart(report.calibration, name=f"{prefix}-calibration")
        if report.calibration.bins
        else None,
        lengths=length_chart(report.lengths, name=f"{prefix}-lengths") if report.lengths else None,
    )
