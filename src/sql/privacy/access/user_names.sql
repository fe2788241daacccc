create or replace function privacy.user_names(subject privacy.subject)
returns text[]
language sql
immutable
parallel safe
return array(
  select named.name
  from unnest((user_names.subject).kinds, (user_names.subject).names) as named (kind, name)
  where named.kind = 'user'
);

comment on function privacy.user_names(privacy.subject) is $$
@behavior -*
Returns the names of a person that are proven: those of the kind `user`.
For comparisons with names that are not identities, such as authors in a log and keys of a model from outside: the name
of a browser is chosen by its client, and can be that of another person.
$$;
