"""Uploads a folder of reports to a data set on the Hub every few minutes, in the background.

`huggingface_hub.CommitScheduler` uploads what is new since its last success, and once more when the app ends. Its
constructor already talks to the Hub, so a thread makes it, again and again until the Hub answers. The reports
themselves wait in the folder, also those of earlier starts.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from huggingface_hub import CommitScheduler

from .store import PARTIAL

log = logging.getLogger("fakedet")
EVERY_MINUTES = 5
RETRY_SECONDS = 60


def upload_in_background(folder: Path, repo: str) -> threading.Thread:
    """Starts the uploads and returns at once.

    Args:
        folder: Of a `ReportStore`.
        repo: Data set, "owner/name"; made as a private one where it does not exist. The token is the Hub client's.
    """
    thread = threading.Thread(target=_start_scheduler, args=(folder, repo), name="report uploads", daemon=True)
    thread.start()
    return thread


def _start_scheduler(folder: Path, repo: str) -> None:
    pause, warned = threading.Event(), False
    while True:
        try:
            CommitScheduler(
                repo_id=repo,
                repo_type="dataset",
                folder_path=folder,
                every=EVERY_MINUTES,
                private=True,
                ignore_patterns=[f"*{PARTIAL}"],
            )
            return
        except Exception as error:  # the Hub client raises a dozen types
            if not warned:
                log.warning("reports wait in %s: the data set %s cannot be used: %s", folder, repo, error)
                warned = True
        pause.wait(RETRY_SECONDS)
