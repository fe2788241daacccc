-- Changes of structure since the last release: see migrations/README.md.

-- The floor: analysts and admins have functions of their own, which the public ones call.
drop function if exists analytics._trend(int, text, timestamptz, timestamptz, int, int);
drop function if exists analytics._popular_items(text, timestamptz, timestamptz, interval, int, text, int);
alter function analytics.trend(text, text, timestamptz, timestamptz, int) owner to insights_owner;
alter function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text) owner to insights_owner;
alter function analytics.course_outlook(text, timestamptz) owner to insights_owner;
revoke select on monitor.run from insights_analyst;
