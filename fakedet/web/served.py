"""The detector that a server uses, and whether it is the one that the owner asked for."""

from __future__ import annotations

from dataclasses import dataclass

from fakedet.detector import Detector


@dataclass(frozen=True)
class ServedModel:
    """A loaded detector and how it was chosen.

    Attributes:
        detector: Computes the verdicts.
        fallback: Whether it replaces a model that could not be used.
        wanted: The model that could not be used; "" without a fallback.
        reason: Why not, in one sentence; "" without a fallback.
    """

    detector: Detector
    fallback: bool = False
    wanted: str = ""
    reason: str = ""

    @property
    def why(self) -> str:
        """One or two sentences on why this checkpoint answers."""
        note = self.detector.checkpoint.note
        if not self.fallback:
            return note
        return f"{note} The wanted model ({self.wanted}) could not be used: {self.reason}"
