-- Changes of structure since the last release: see migrations/README.md.

/* ------------------------------------------------------------------- requests and restrictions of browsers that end -- */

drop function if exists privacy.move_subjects(bigint[], bigint[]);
