-- Changes of structure since the last release: see migrations/README.md.

-- Pages of the learners of a course.
drop function if exists analytics._course_learners(bigint, timestamptz, timestamptz);
drop function if exists analytics.course_learners(text, timestamptz, timestamptz);

-- The latest disclosures.
create index if not exists disclosure_read on privacy.disclosure (read_at);

-- The activity of some items.
drop function if exists track.activity_of(bigint[], date, date);
drop function if exists track.stored_activity(bigint[], date[], date[]);
