-- Changes of structure since the last release: see migrations/README.md.

set local lock_timeout to '5s';

alter table track.source add column states_enrolments boolean not null default false;
comment on column track.source.states_enrolments is $$
Whether its events `Course Enrolled`, `Course Dropped` and `Course Completed` give rows of `track.enrolment`.
So do those of imports (setting `insights.states_enrolments`), but not those of applications.
$$;

alter table track.enrolment add column source_id smallint;
comment on table track.enrolment is $$
@foreignKey (item_id) references track.item (item_id)
@foreignKey (identity_id) references track.identity (identity_id)
Enrolments of people in items, as stored by the application, or as the events of an import state them.
Of the enrolments of an identity under several names of a merged item, the one of the item's own name counts, or else
the latest one. The others keep the merged item, whose kind is `merged`.
$$;
comment on column track.enrolment.source_id is $$
Import whose event began the enrolment; null: the application or an administrator stated it.
$$;
create index enrolment_source on track.enrolment (source_id) where source_id is not null;
