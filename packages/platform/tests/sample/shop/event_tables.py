"""Tables of outbox and inbox, which the tests of events add to the shop's database."""

from sqlalchemy.orm import DeclarativeBase

from service_platform.database import COLUMN_TYPES, new_metadata
from service_platform.events import InboxSubjectTable, InboxTable, OutboxTable


class Base(DeclarativeBase):
    metadata = new_metadata()
    type_annotation_map = COLUMN_TYPES


class Outbox(OutboxTable, Base):
    pass


class Inbox(InboxTable, Base):
    pass


class InboxSubject(InboxSubjectTable, Base):
    pass
