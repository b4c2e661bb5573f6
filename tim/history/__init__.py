"""What became of objects: differences between moments, taking back, scenarios as branches, lives. On any store.

A *line* is the common line or a scenario. On a line an object has rectangles: what is said of it about a time in the real world. All here
reads lines as :class:`Span` s, works out what they should be, and says it as one compensating changeset: history only ever grows.
"""

from __future__ import annotations

from tim.history.differences import Difference, FieldChange, diff, diff_moments, fields_changed
from tim.history.lives import LifeStage, life
from tim.history.scenarios import adopt, compare, drop
from tim.history.undoing import Undone, revert, rollback

__all__ = [
    "Difference", "FieldChange", "LifeStage", "Undone", "adopt", "compare", "diff", "diff_moments", "drop", "fields_changed", "life", "revert", "rollback",
]  # fmt: skip
