"""The statements on the tables of webhooks, each in the caller's session.

Who changes deliveries of a subscription locks the subscription first.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# A subscription that is found is kept from being deleted until its delivery is written.
_SUBSCRIBED: Final = text(
    """
    SELECT id FROM webhook_subscriptions
    WHERE account = :account AND disabled_at IS NULL AND :type = ANY (types)
    ORDER BY id FOR KEY SHARE
    """
)
_INSERT: Final = text(
    """
    INSERT INTO webhook_deliveries (id, subscription_id, type, payload, job_id, next_attempt_at)
    VALUES (:id, :subscription_id, :type, :payload, :job_id, clock_timestamp())
    """
)
_LOCK_SUBSCRIPTION: Final = text(
    """
    SELECT id, url, secret, failing_since, disabled_at,
           CASE WHEN previous_secret_until > clock_timestamp() THEN previous_secret END
               AS previous_secret,
           failing_since < clock_timestamp() - make_interval(secs => :patience) AS is_failing_long
    FROM webhook_subscriptions
    WHERE id = (SELECT subscription_id FROM webhook_deliveries WHERE id = :delivery_id)
    FOR NO KEY UPDATE
    """
)
_DELIVERY_OF_JOB: Final = text(
    """
    SELECT payload, failures FROM webhook_deliveries WHERE id = :id AND job_id = :job_id
    """
)
_IN_FLIGHT: Final = text(
    """
    SELECT count(*) FROM webhook_deliveries
    WHERE subscription_id = :subscription_id AND sending_until > clock_timestamp()
      AND (CAST(:id AS uuid) IS NULL OR id <> :id)
    """
)
_LEAVE: Final = text("UPDATE webhook_deliveries SET job_id = NULL WHERE id = :id")
_BEGIN: Final = text(
    """
    UPDATE webhook_deliveries
    SET sending_until = clock_timestamp() + make_interval(secs => :seconds) WHERE id = :id
    """
)
_RECORD: Final = text(
    """
    UPDATE webhook_deliveries SET
        status = :status, attempts = attempts + 1,
        failures = CASE WHEN :status = 'succeeded' THEN failures ELSE failures + 1 END,
        response_status = :response_status, error = :error, job_id = CAST(:next_job AS uuid),
        sending_until = NULL, attempted_at = clock_timestamp(),
        next_attempt_at = clock_timestamp() + make_interval(secs => :delay),
        finished_at = CASE WHEN :status <> 'waiting' THEN clock_timestamp() END
    WHERE id = :id
    """
)
_SET_WELL: Final = text(
    """
    UPDATE webhook_subscriptions SET failing_since = NULL, version = version + 1
    WHERE id = :id AND failing_since IS NOT NULL
    """
)
_SET_FAILING: Final = text(
    """
    UPDATE webhook_subscriptions SET failing_since = clock_timestamp(), version = version + 1
    WHERE id = :id AND failing_since IS NULL
    """
)
_DISABLE: Final = text(
    """
    UPDATE webhook_subscriptions SET
        disabled_at = clock_timestamp(), disabled_reason = :reason, version = version + 1
    WHERE id = :id AND disabled_at IS NULL
    """
)
_GIVE_UP_WAITING: Final = text(
    """
    UPDATE webhook_deliveries SET
        status = 'failed', error = 'disabled', job_id = NULL, sending_until = NULL,
        next_attempt_at = NULL, finished_at = clock_timestamp()
    WHERE subscription_id = :id AND status = 'waiting'
    """
)
_WITHOUT_JOB: Final = text(
    """
    SELECT id FROM webhook_deliveries
    WHERE subscription_id = :subscription_id AND status = 'waiting' AND job_id IS NULL
    ORDER BY id LIMIT :limit
    """
)
_SET_JOB: Final = text(
    """
    UPDATE webhook_deliveries SET job_id = :job_id, next_attempt_at = clock_timestamp()
    WHERE id = :id
    """
)
_SEND_AGAIN: Final = text(
    """
    UPDATE webhook_deliveries SET
        status = 'waiting', failures = 0, job_id = NULL, sending_until = NULL, finished_at = NULL,
        next_attempt_at = clock_timestamp()
    WHERE subscription_id = :subscription_id
      AND (CAST(:id AS uuid) IS NULL OR id = :id)
      AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since)
      AND status = ANY (:statuses)
    RETURNING id
    """
)
_STRANDED: Final = text(
    """
    SELECT DISTINCT subscription_id FROM webhook_deliveries
    WHERE status = 'waiting' AND job_id IS NULL LIMIT :limit
    """
)
_LOCK: Final = text(
    "SELECT failing_since FROM webhook_subscriptions WHERE id = :id FOR NO KEY UPDATE"
)
_DELETE_FINISHED: Final = text(
    """
    DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries
        WHERE finished_at < clock_timestamp() - make_interval(secs => :seconds)
        ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    RETURNING id
    """
)
_FORGET_DELIVERIES: Final = text(
    """
    DELETE FROM webhook_deliveries WHERE id IN (
        SELECT webhook_deliveries.id FROM webhook_deliveries
        JOIN webhook_subscriptions ON webhook_subscriptions.id = subscription_id
        WHERE account = :account LIMIT :limit
    )
    RETURNING id
    """
)
_FORGET: Final = text("DELETE FROM webhook_subscriptions WHERE account = :account")


class LockedSubscription(NamedTuple):
    """A subscription whose delivery is worked on.

    Attributes:
        id: of the subscription.
        url: where its messages are sent to.
        secret: encrypted.
        failing_since: the first failure after the last success.
        disabled_at: since when nothing is sent.
        previous_secret: encrypted; `None` where there is none that is still good.
        is_failing_long: whether that is so long ago that it is to be disabled.
    """

    id: UUID
    url: str
    secret: bytes
    failing_since: datetime | None
    disabled_at: datetime | None
    previous_secret: bytes | None
    is_failing_long: bool | None


class DeliveryOfJob(NamedTuple):
    """A delivery whose next attempt a job makes.

    Attributes:
        payload: body of the request.
        failures: attempts that failed since it was enqueued or replayed.
    """

    payload: str
    failures: int


async def subscribed(session: AsyncSession, account: str, event_type: str) -> list[UUID]:
    """Return the subscriptions of an account that an event is sent to."""
    return list(await session.scalars(_SUBSCRIBED, {"account": account, "type": event_type}))


async def insert_delivery(
    session: AsyncSession,
    *,
    delivery_id: UUID,
    subscription_id: UUID,
    event_type: str,
    payload: str,
    job_id: UUID,
) -> None:
    """Write a delivery, whose first attempt a job makes."""
    parameters = {
        "id": delivery_id,
        "subscription_id": subscription_id,
        "type": event_type,
        "payload": payload,
        "job_id": job_id,
    }
    await session.execute(_INSERT, parameters)


async def lock_subscription(
    session: AsyncSession, delivery_id: UUID, patience_seconds: float
) -> LockedSubscription | None:
    """Lock the subscription of a delivery; `None` where it is deleted."""
    parameters = {"delivery_id": delivery_id, "patience": patience_seconds}
    row = (await session.execute(_LOCK_SUBSCRIPTION, parameters)).one_or_none()
    return None if row is None else LockedSubscription(*row)


async def delivery_of_job(
    session: AsyncSession, delivery_id: UUID, job_id: UUID
) -> DeliveryOfJob | None:
    """Return a delivery, unless another job than this one makes its next attempt, or none does."""
    found = await session.execute(_DELIVERY_OF_JOB, {"id": delivery_id, "job_id": job_id})
    row = found.one_or_none()
    return None if row is None else DeliveryOfJob(*row)


async def in_flight(
    session: AsyncSession, subscription_id: UUID, besides: UUID | None = None
) -> int:
    """Count the requests to a subscriber that are being made, besides one delivery's."""
    parameters = {"subscription_id": subscription_id, "id": besides}
    return await session.scalar(_IN_FLIGHT, parameters) or 0


async def leave_without_job(session: AsyncSession, delivery_id: UUID) -> None:
    """Let a delivery wait until its subscription has room."""
    await session.execute(_LEAVE, {"id": delivery_id})


async def begin(session: AsyncSession, delivery_id: UUID, seconds: float) -> None:
    """Record that a request is being made, which is over after so many seconds for sure."""
    await session.execute(_BEGIN, {"id": delivery_id, "seconds": seconds})


async def record(
    session: AsyncSession,
    delivery_id: UUID,
    *,
    status: str,
    response_status: int | None,
    error: str | None,
    next_job: UUID | None = None,
    delay: float | None = None,
) -> None:
    """Record how an attempt ended.

    Args:
        session: of the transaction.
        delivery_id: of the delivery.
        status: that it has now.
        response_status: of the response, if there was one.
        error: kind of the failure.
        next_job: makes the next attempt.
        delay: seconds until then.
    """
    parameters = {
        "id": delivery_id,
        "status": status,
        "response_status": response_status,
        "error": error,
        "next_job": next_job,
        "delay": delay,
    }
    await session.execute(_RECORD, parameters)


async def set_well(session: AsyncSession, subscription_id: UUID) -> None:
    """Record that a subscriber takes messages."""
    await session.execute(_SET_WELL, {"id": subscription_id})


async def set_failing(session: AsyncSession, subscription_id: UUID) -> None:
    """Record that a subscriber fails, from now on or since earlier."""
    await session.execute(_SET_FAILING, {"id": subscription_id})


async def disable(session: AsyncSession, subscription_id: UUID, reason: str) -> None:
    """Disable a subscription and give its waiting deliveries up."""
    await session.execute(_DISABLE, {"id": subscription_id, "reason": reason})
    await give_up_waiting(session, subscription_id)


async def give_up_waiting(session: AsyncSession, subscription_id: UUID) -> None:
    """Give the waiting deliveries of a disabled subscription up."""
    await session.execute(_GIVE_UP_WAITING, {"id": subscription_id})


async def without_job(session: AsyncSession, subscription_id: UUID, limit: int) -> list[UUID]:
    """Return the oldest deliveries that wait until their subscription has room."""
    parameters = {"subscription_id": subscription_id, "limit": limit}
    return list(await session.scalars(_WITHOUT_JOB, parameters))


async def set_job(session: AsyncSession, delivery_id: UUID, job_id: UUID) -> None:
    """Record which job makes the next attempt of a delivery."""
    await session.execute(_SET_JOB, {"id": delivery_id, "job_id": job_id})


async def send_again(
    session: AsyncSession,
    subscription_id: UUID,
    *,
    delivery_id: UUID | None = None,
    since: datetime | None = None,
    statuses: tuple[str, ...],
) -> int:
    """Let deliveries of a subscription wait to be sent once more; return how many."""
    parameters = {
        "subscription_id": subscription_id,
        "id": delivery_id,
        "since": since,
        "statuses": list(statuses),
    }
    return len((await session.execute(_SEND_AGAIN, parameters)).all())


async def lock(session: AsyncSession, subscription_id: UUID) -> bool | None:
    """Lock a subscription; return whether it is failing, or `None` where it is deleted."""
    row = (await session.execute(_LOCK, {"id": subscription_id})).one_or_none()
    return None if row is None else row.failing_since is not None


async def stranded(session: AsyncSession, limit: int) -> list[UUID]:
    """Return subscriptions some of whose deliveries have no job."""
    return list(await session.scalars(_STRANDED, {"limit": limit}))


async def delete_finished(session: AsyncSession, seconds: float, limit: int) -> int:
    """Delete deliveries that ended longer ago; return how many were deleted."""
    parameters = {"seconds": seconds, "limit": limit}
    return len((await session.execute(_DELETE_FINISHED, parameters)).all())


async def forget_webhooks(session: AsyncSession, account: UUID | str, limit: int) -> bool:
    """Delete the subscriptions and deliveries of an account, when it is closed.

    Args:
        session: of the transaction.
        account: of the subscriptions.
        limit: deliveries that are deleted at once.

    Returns:
        False while there are more; call it again in a further transaction.
    """
    parameters: dict[str, Any] = {"account": str(account), "limit": limit}
    if len((await session.execute(_FORGET_DELIVERIES, parameters)).all()) == limit:
        return False
    await session.execute(_FORGET, {"account": str(account)})
    return True


__all__ = [
    "DeliveryOfJob",
    "LockedSubscription",
    "begin",
    "delete_finished",
    "delivery_of_job",
    "disable",
    "forget_webhooks",
    "give_up_waiting",
    "in_flight",
    "insert_delivery",
    "leave_without_job",
    "lock",
    "lock_subscription",
    "record",
    "send_again",
    "set_failing",
    "set_job",
    "set_well",
    "stranded",
    "subscribed",
    "without_job",
]
