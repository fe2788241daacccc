-- Changes of structure since the last release: see migrations/README.md.

drop function if exists analytics._session_paths(
  timestamptz, timestamptz, int[], int[], int, int, int, text, text, int
);

drop function if exists analytics._has_ties(timestamptz[], timestamptz[], int);
