create or replace function experiment._keep_history()
returns trigger
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The erasure of an administrator replaces her name, and nothing else.
  if tg_op = 'UPDATE' and new.actor = 'erased' and to_jsonb(new) - 'actor' = to_jsonb(old) - 'actor' then
    return new;
  end if;
  perform common.refuse(
    'CF003', 'the history of experiments cannot be changed', 'Rows of experiment.change are added only.'
  );
  return null;
end;
$$;

comment on function experiment._keep_history() is $$
@behavior -*
Refuses changes and deletions in `experiment.change`, also those of its owner, with CF003.
$$;

create or replace trigger keep_history
before update or delete on experiment.change
for each row execute function experiment._keep_history();

create or replace trigger keep_whole_history
before truncate on experiment.change
for each statement execute function experiment._keep_history();
