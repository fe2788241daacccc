-- Changes of structure since the last release: see migrations/README.md.

create type analytics.engagement_level as (
  section text,
  title text,
  item_count bigint,
  level text,
  person_count bigint,
  share float8
);

comment on type analytics.engagement_level is $$
A level of engagement with a section of a course, and the learners who are at it.
For analysts, numbers of people are rounded, and too few people are 0.
$$;
comment on column analytics.engagement_level.section is $$External id of the section, or of the course.$$;
comment on column analytics.engagement_level.title is $$Title of the section; null when unknown.$$;
comment on column analytics.engagement_level.item_count is $$Number of items of the section.$$;
comment on column analytics.engagement_level.level is $$Level, in the words of Aspects.$$;
comment on column analytics.engagement_level.person_count is $$Number of learners.$$;
comment on column analytics.engagement_level.share is $$Share of the learners of the course; null without learners.$$;
