-- Changes of structure since the last release: see migrations/README.md.

create type experiment.regex_part as (
  ways double precision,
  first_ways double precision,
  first_arcs double precision,
  last_ways double precision,
  last_states double precision,
  arcs double precision,
  states double precision
);

comment on type experiment.regex_part is $$
How large the automaton of a part of a regular expression is; see `experiment._regex_work`.
$$;
comment on column experiment.regex_part.ways is $$
Ways to pass the part without a character, with different boundaries; 0 if it needs a character.
$$;
comment on column experiment.regex_part.first_ways is $$Ways from the start of the part to its first character.$$;
comment on column experiment.regex_part.first_arcs is $$Arcs of the characters with which the part can start.$$;
comment on column experiment.regex_part.last_ways is $$Ways from the last character of the part to its end.$$;
comment on column experiment.regex_part.last_states is $$States in which the part can end.$$;
comment on column experiment.regex_part.arcs is $$Arcs between the characters of the part, times the ways between them.$$;
comment on column experiment.regex_part.states is $$Characters of the part, with their repetitions.$$;
