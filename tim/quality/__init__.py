"""How good a dataset is: what it says of itself, and what checks find.

:func:`check` looks at every object of a dataset in a store and gives a :class:`Report`: findings by kind, each with its severity, how many
there are, and some of the objects. It is JSON (:meth:`Report.to_json`) and a page for people (:func:`write_page`). :class:`DatasetRecord` is what
the dataset says of itself. An import makes the checks that need nothing but the record (:func:`problems`).
"""

from __future__ import annotations

from tim.quality.checks import Progress, Report, check
from tim.quality.findings import CHECKS, EXAMPLES, Example, Finding, Findings
from tim.quality.page import to_html, write_page
from tim.quality.record import CLASSIFICATIONS, DatasetRecord, put_record, read_record, record_of
from tim.quality.records import problems

__all__ = [
    "CHECKS", "CLASSIFICATIONS", "EXAMPLES", "DatasetRecord", "Example", "Finding", "Findings", "Progress", "Report", "check", "problems",
    "put_record", "read_record", "record_of", "to_html", "write_page",
]  # fmt: skip
