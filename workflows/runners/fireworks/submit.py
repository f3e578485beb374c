"""Submit a screening's flows to FireWorks: those that can start now, again whenever some ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import sleep

from fireworks import fw_config

from ionsieve.errors import InputError
from ionsieve.workflows.documents.flows import FlowStatus, NewFlow
from ionsieve.workflows.documents.raw import PlanDocument
from ionsieve.workflows.results.handle import Results
from ionsieve.workflows.results.publish import publish_collections
from ionsieve.workflows.runners.fireworks.launchpad import WorkflowQueue, open_launchpad
from ionsieve.workflows.runners.session import open_session
from ionsieve.workflows.settings.schema import ScreeningFile
from ionsieve.workflows.store.opening import holds_password, store_name


@dataclass(frozen=True)
class Submission:
    """What one pass did.

    Attributes
    ----------
    added : tuple of NewFlow
        Flows that went to the LaunchPad, or would go in a dry run.
    rerun : tuple of int
        Fireworks whose batch job was lost or failed and that will run again.
    statuses : tuple of FlowStatus
        The screening's flows afterwards.
    """

    added: tuple[NewFlow, ...]
    rerun: tuple[int, ...]
    statuses: tuple[FlowStatus, ...]

    @property
    def ended(self) -> bool:
        """Whether nothing runs, nothing waits and nothing was added."""
        return not self.added and all(status.ended for status in self.statuses)


class Submitter:
    """Checks a screening once, then submits as often as wanted.

    Raises
    ------
    InputError
        The screening, its store or its LaunchPad is unfit; nothing has been submitted.
    """

    def __init__(self, screening: ScreeningFile) -> None:
        if screening.compute.launchpad is None:
            raise InputError(
                "compute.launchpad is not set; give FireWorks' my_launchpad.yaml "
                "(ionsieve hpc-init writes one)"
            )
        if holds_password(screening):
            raise InputError(
                f"store {store_name(screening)}: its password would be copied into every job; "
                "write it into a jobflow.yaml (ionsieve hpc-init does) and give that file as store"
            )
        session = open_session(screening)
        self.screening = screening
        self.plan: PlanDocument = session.plan
        self.job_store = session.job_store
        self.funnel = session.funnel
        launchpad = open_launchpad(screening.resolve(screening.compute.launchpad))
        self.queue = WorkflowQueue(launchpad, store_name(screening))

    def submit(
        self,
        retry_failed: bool = False,
        dry_run: bool = False,
        on_added: Callable[[NewFlow], None] | None = None,
    ) -> Submission:
        """Rerun what was lost, and add every flow that can start now and is not there.

        Parameters
        ----------
        retry_failed
            Give failed jobs another try.
        dry_run
            Change nothing; say what would be added.
        on_added
            Called with each flow that was added.
        """
        rerun: list[int] = []
        if not dry_run:
            # FW_config.yaml may set both.
            rerun = self.queue.rerun_lost(float(fw_config.RUN_EXPIRATION_SECS))
            rerun += self.queue.rerun_outside()
            rerun += self.queue.cancel_old_reservations(
                float(fw_config.RESERVATION_EXPIRATION_SECS)
            )
            self.queue.forget([s.key for s in self.funnel.lost(self.queue.flows())])
            if retry_failed:
                rerun += self.queue.rerun_failed()
                self.funnel.forget_failures()
        added: list[NewFlow] = []
        for new in self.funnel.next_flows(self.queue.flows()):
            if dry_run:
                added.append(new)
            elif self.queue.add(new, self.job_store):
                added.append(new)
                if on_added is not None:
                    on_added(new)
        if not dry_run:
            publish_collections(Results(self.screening, self.job_store))
        statuses = tuple(self.funnel.own(self.queue.flows()))
        return Submission(tuple(added), tuple(rerun), statuses)

    def watch(self, interval_seconds: float, retry_failed: bool = False) -> Iterator[Submission]:
        """Submit again and again until the screening has come to its end."""
        while True:
            submission = self.submit(retry_failed=retry_failed)
            retry_failed = False
            yield submission
            if submission.ended:
                return
            sleep(interval_seconds)
