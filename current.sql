-- Changes of structure since the last release: see migrations/README.md.

drop function if exists analytics._session_paths(
  timestamptz, timestamptz, int[], int[], int, int, int, text, text, int
);

drop function if exists analytics._has_ties(timestamptz[], timestamptz[], int);

drop function if exists analytics._journeys(int[], boolean, boolean, timestamptz, timestamptz);

drop function if exists analytics._valued_journeys(int[], int[], boolean, timestamptz, timestamptz);

drop function if exists analytics._walk_statement(
  analytics.step_filter[], int, text, text, text, boolean, boolean, text
);

drop function if exists analytics._search_best(analytics.step_filter[], int, boolean);
