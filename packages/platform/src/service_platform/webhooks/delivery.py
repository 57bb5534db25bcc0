"""The jobs of webhooks: one makes an attempt to send a delivery, another cleans up.

An attempt that fails enqueues the next one, in the transaction that records it. To the queue it has
succeeded: a subscriber that is away is no failure of the service. What fails as a job, and becomes
a dead letter of its own, is what the service itself could not do, such as to decrypt a secret.

No more than `MAX_IN_FLIGHT` requests to one subscriber are made at once, so that a slow one takes
no more than these from all others; to one that fails, only one. What has no room is left without a
job and gets one when a request to the subscriber ends.
"""

import random
import time
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from service_platform.ids import new_id
from service_platform.jobs import JobContext, Jobs
from service_platform.jobs import enqueue as enqueue_job
from service_platform.logging import get_logger
from service_platform.webhooks import metrics, store
from service_platform.webhooks.schedule import DISABLE_AFTER_SECONDS, pause_after
from service_platform.webhooks.secrets import WebhookSecrets
from service_platform.webhooks.sender import Outcome, WebhookSender
from service_platform.webhooks.signing import signed_headers
from service_platform.webhooks.store import LockedSubscription

MAX_IN_FLIGHT: Final = 4
GRACE_SECONDS: Final = 20.0
"""Beyond the time limit of a request, until it is over for sure even if its worker died."""
BATCH: Final = 1_000
GONE: Final = 410

log = get_logger("service_platform.webhooks")


class Message(NamedTuple):
    """What is sent to a subscriber."""

    url: str
    secrets: list[bytes]
    payload: bytes


class WebhookJobs:
    """The jobs of a service's webhooks.

    Args:
        jobs: of the service, which they are added to.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._deliver = jobs.job(name="deliver_webhook", timeout_seconds=60.0)(self.deliver)
        self._clean = jobs.job(name="clean_webhooks", cron="*/10 * * * *")(self.clean)

    async def enqueue(
        self, session: AsyncSession, subscription_id: UUID, event_type: str, payload: str
    ) -> UUID:
        """Enqueue a message to a subscriber; return the id of its delivery."""
        delivery_id = new_id()
        job_id = await enqueue_job(session, self._deliver, delivery_id=delivery_id)
        await store.insert_delivery(
            session,
            delivery_id=delivery_id,
            subscription_id=subscription_id,
            event_type=event_type,
            payload=payload,
            job_id=job_id,
        )
        return delivery_id

    async def deliver(self, context: JobContext, delivery_id: UUID) -> None:
        """Make an attempt to send a delivery."""
        sender = context.resource(WebhookSender)
        seconds = sender.settings.webhooks_timeout_seconds + GRACE_SECONDS

        async def begin(session: AsyncSession) -> Message | None:
            return await self._begin(session, context.id, delivery_id, seconds, sender.secrets)

        message = await context.database.run(begin)
        if message is None:
            return
        headers = signed_headers(
            message.secrets, str(delivery_id), int(time.time()), message.payload
        )
        outcome = await sender.send(message.url, headers, message.payload)
        await self._record(context, delivery_id, outcome)

    async def clean(self, context: JobContext) -> None:
        """Delete old deliveries and secrets, and send what was left without a job."""
        sender = context.resource(WebhookSender)
        seconds = sender.settings.webhooks_retention_days * 86_400
        run = context.database.run
        while await run(lambda session: store.delete_finished(session, seconds, BATCH)) == BATCH:
            pass
        for subscription_id in await run(lambda session: store.stranded(session, BATCH)):
            await run(lambda session, id_=subscription_id: self.send_waiting(session, id_))  # type: ignore[misc]
        await run(sender.secrets.forget_previous)
        last: UUID | None = UUID(int=0)
        while last is not None:
            after = last
            last = await run(lambda session, id_=after: sender.secrets.renew_batch(session, id_))  # type: ignore[misc]

    async def send_waiting(self, session: AsyncSession, subscription_id: UUID) -> None:
        """Give deliveries without a job one, as many as their subscription has room for."""
        is_failing = await store.lock(session, subscription_id)
        if is_failing is not None:
            await self._fill(session, subscription_id, is_failing=is_failing)

    async def _begin(
        self,
        session: AsyncSession,
        job_id: UUID,
        delivery_id: UUID,
        seconds: float,
        secrets: WebhookSecrets,
    ) -> Message | None:
        """Reserve a request to the subscriber; `None` where none is to be made now."""
        subscription = await store.lock_subscription(session, delivery_id, DISABLE_AFTER_SECONDS)
        if subscription is None:
            return None
        if subscription.disabled_at is not None:  # by now; it was not when this was enqueued
            await store.give_up_waiting(session, subscription.id)
            return None
        delivery = await store.delivery_of_job(session, delivery_id, job_id)
        if delivery is None:
            return None
        flying = await store.in_flight(session, subscription.id, besides=delivery_id)
        if flying >= _most(is_failing=subscription.failing_since is not None):
            await store.leave_without_job(session, delivery_id)
            return None
        await store.begin(session, delivery_id, seconds)
        sealed = (subscription.secret, subscription.previous_secret)
        return Message(
            subscription.url,
            [secrets.decrypt(subscription.id, each) for each in sealed if each is not None],
            delivery.payload.encode(),
        )

    async def _record(self, context: JobContext, delivery_id: UUID, outcome: Outcome) -> None:
        session = context.session
        subscription = await store.lock_subscription(session, delivery_id, DISABLE_AFTER_SECONDS)
        if subscription is None:
            return
        delivery = await store.delivery_of_job(session, delivery_id, context.id)
        if delivery is None:  # replayed or given up meanwhile
            return
        if outcome.error is None:
            await store.record(
                session,
                delivery_id,
                status="succeeded",
                response_status=outcome.status,
                error=None,
            )
            await store.set_well(session, subscription.id)
            await self._fill(session, subscription.id, is_failing=False)
            return
        await self._record_failure(session, subscription, delivery_id, delivery.failures, outcome)

    async def _record_failure(
        self,
        session: AsyncSession,
        subscription: LockedSubscription,
        delivery_id: UUID,
        failures: int,
        outcome: Outcome,
    ) -> None:
        log.info(
            "webhook_failed",
            subscription=str(subscription.id),
            delivery=str(delivery_id),
            status=outcome.status,
            error=outcome.error,
        )
        pause = pause_after(failures + 1)
        next_job: UUID | None = None
        if pause is not None:
            again = self._deliver.with_options(delay=pause * random.uniform(1, 1.1))  # noqa: S311
            next_job = await enqueue_job(session, again, delivery_id=delivery_id)
        await store.record(
            session,
            delivery_id,
            status="failed" if pause is None else "waiting",
            response_status=outcome.status,
            error=outcome.error,
            next_job=next_job,
            delay=None if pause is None else pause.total_seconds(),
        )
        if pause is None:
            metrics.given_up.inc()
        await store.set_failing(session, subscription.id)
        if outcome.status == GONE or subscription.is_failing_long:
            reason = "gone" if outcome.status == GONE else "failing"
            await store.disable(session, subscription.id, reason)
            metrics.disabled.labels(reason).inc()
            log.warning("webhook_disabled", subscription=str(subscription.id), reason=reason)
            return
        await self._fill(session, subscription.id, is_failing=True)

    async def _fill(
        self, session: AsyncSession, subscription_id: UUID, *, is_failing: bool
    ) -> None:
        room = _most(is_failing=is_failing) - await store.in_flight(session, subscription_id)
        if room <= 0:
            return
        for delivery_id in await store.without_job(session, subscription_id, room):
            job_id = await enqueue_job(session, self._deliver, delivery_id=delivery_id)
            await store.set_job(session, delivery_id, job_id)


def _most(*, is_failing: bool) -> int:
    return 1 if is_failing else MAX_IN_FLIGHT


__all__ = ["WebhookJobs"]
