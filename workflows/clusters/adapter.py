"""A queue adapter of FireWorks for schedulers it does not know: commands and patterns are data."""

from __future__ import annotations

import getpass
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, Self

from fireworks.queue.queue_adapter import Command, QueueAdapterBase
from fireworks.utilities.fw_serializers import serialize_fw

_OWN = "_fw_"


class DescribedAdapter(QueueAdapterBase):
    """Submits, and counts what is queued, as a my_qadapter.yaml says.

    Keys of that file, besides those that its template names:

    ``_fw_template_file``
        The batch script, with FireWorks' ``$${...}``.
    ``_fw_submit``, ``_fw_status``
        Command lines; the script is appended to the first.
    ``_fw_job_id``
        Regular expression; its first group in the output of submit is the job's number.
    ``_fw_job_line``
        Regular expression; each line of the output of status that it finds is one of my jobs.
    ``_fw_timeout``
        Seconds a command may take.
    ``_fw_q_name``
        The name in logs.
    """

    _fw_name = "{{ionsieve.workflows.clusters.adapter.DescribedAdapter}}"

    def __init__(self, described: dict[str, Any]) -> None:
        super().__init__(None)
        self.update({k: v for k, v in described.items() if not k.startswith(_OWN)})
        self._described = {k: v for k, v in described.items() if k.startswith(_OWN)}
        self.q_name = str(self._described.get("_fw_q_name", "queue"))
        self.timeout = float(self._described.get("_fw_timeout", 30))
        self.template_file = str(Path(self._described["_fw_template_file"]).absolute())
        self._job_id = re.compile(self._described["_fw_job_id"])
        self._job_line = re.compile(self._described["_fw_job_line"], re.MULTILINE)

    def submit_to_queue(self, script_file: str) -> str | None:
        """Submit a batch script and return its number; None, and a line in the log, on failure."""
        command = [*shlex.split(self._described["_fw_submit"]), script_file]
        logger = self.get_qlogger(f"qadapter.{self.q_name}")
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=self.timeout, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            logger.error("%s: %s", shlex.join(command), error)
            return None
        output = f"{done.stdout}\n{done.stderr}"
        found = self._job_id.search(output)
        if done.returncode or found is None:
            logger.error("%s: %s", shlex.join(command), output.strip())
            return None
        return found[1]

    def get_njobs_in_queue(self, username: str | None = None) -> int | None:
        """Return how many jobs wait or run; None, and a line in the log, when it can't be asked."""
        user = username or getpass.getuser()
        words = [
            word.replace("{user}", user) for word in shlex.split(self._described["_fw_status"])
        ]
        status, output, error = Command(words).run(timeout=self.timeout)
        if status != 0:
            self.get_qlogger(f"qadapter.{self.q_name}").error("%s: %s", shlex.join(words), error)
            return None
        return sum(1 for _ in self._job_line.finditer(output))

    @serialize_fw
    def to_dict(self) -> dict[str, Any]:
        """Return all that the file said."""
        return {**self, **self._described}

    @classmethod
    def from_dict(cls, m_dict: dict[str, Any]) -> Self:
        """Make the adapter from what a file says."""
        return cls(m_dict)
