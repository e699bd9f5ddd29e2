"""The parts of a scan's table: which process writes which, which are done, and the plan that they belong to."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .sources import SourceError
from .table import PART_ROWS, join_parts, part_path

_POLL_S, _PLAN_POLLS = 0.2, 600  # a process waits two minutes for the plan of the first one


@dataclass(frozen=True)
class Share:
    """This process's share of the work, from the environment that `accelerate launch` (torchrun) sets."""

    rank: int
    world: int
    local_rank: int
    local_world: int

    @classmethod
    def from_environment(cls) -> Share:
        defaults = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
        return cls(*(int(os.environ.get(name, default)) for name, default in defaults.items()))


class Parts:
    """The folder of parts beside a table.

    Args:
        output: Path of the table.
        count: Rows of the table.
        share: This process's share.
    """

    def __init__(self, output: Path, count: int, share: Share):
        self.output, self.count, self.share = output, count, share
        self.folder = output.with_name(output.name + ".parts")
        self.numbers = range(-(-count // PART_ROWS))

    def prepare(self, plan: dict[str, Any], resume: bool) -> bool:
        """Create the folder, or check that it belongs to this scan.

        The first process writes plan.json; the others wait for it.

        Returns:
            False where nothing is left to do because the table exists.

        Raises:
            SourceError: The table or parts exist and `resume` is false, or they belong to another scan.
        """
        if self.share.rank > 0:
            return self._wait_for_plan(plan, resume)
        if self.output.exists() and not self.folder.exists():
            if resume:
                return False
            raise SourceError(f"{self.output.name} is there already; name another --output, or remove it.")
        if self.folder.exists() and not resume:
            raise SourceError(
                f"A scan into {self.output.name} was begun: go on with --resume, or remove {self.folder.name}."
            )
        self._write_plan(plan)
        return True

    def _wait_for_plan(self, plan: dict[str, Any], resume: bool) -> bool:
        path = self.folder / "plan.json"
        for _ in range(_PLAN_POLLS):
            if path.exists() and json.loads(path.read_text()) == plan:
                return True
            if resume and self.output.exists() and not self.folder.exists():
                return False
            time.sleep(_POLL_S)
        raise SourceError("The first process did not begin this scan.")

    def _write_plan(self, plan: dict[str, Any]) -> None:
        path = self.folder / "plan.json"
        try:
            previous = json.loads(path.read_text()) if path.exists() else None
        except ValueError:
            previous = None
        if previous not in (None, plan):
            keys = ", ".join(key for key in plan if previous.get(key) != plan[key])
            raise SourceError(f"The scan that was begun into {self.output.name} differs in: {keys}.")
        self.folder.mkdir(parents=True, exist_ok=True)
        for partial in self.folder.glob("*.partial"):
            partial.unlink(missing_ok=True)
        partial = self.folder / "plan.json.partial"
        partial.write_text(json.dumps(plan))
        os.replace(partial, path)

    def path(self, part: int) -> Path:
        """Return where a part is written."""
        return part_path(self.folder, part)

    def missing(self) -> set[int]:
        """Return the parts of this process that are not written yet."""
        mine = range(self.share.rank, len(self.numbers), self.share.world)
        return {part for part in mine if not self.path(part).exists()}

    def rows(self, parts: set[int]) -> int:
        """Return how many rows these parts have together."""
        return sum(min(PART_ROWS, self.count - part * PART_ROWS) for part in parts)

    def finish(self) -> None:
        """Wait for the parts of the other processes, join all parts into the table, and remove their folder."""
        # A launcher that loses one process ends this one too, so the wait has no time limit.
        while missing := [part for part in self.numbers if not self.path(part).exists()]:
            time.sleep(_POLL_S if len(missing) < 10 else 1)
        join_parts([self.path(part) for part in self.numbers], self.output)
        shutil.rmtree(self.folder)
