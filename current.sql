-- Changes of structure since the last release: see migrations/README.md.

-- Funnels by declared properties are read from the journeys.
drop function analytics._search_statement(analytics.step_filter[], int, boolean, boolean, boolean);
drop function analytics._walk_statement(
  analytics.step_filter[], int, text, boolean, text, boolean, boolean, text
);
