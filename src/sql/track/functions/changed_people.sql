create or replace function track._changed_people(consumer text, most_people int)
returns bigint[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if _changed_people.most_people is null or _changed_people.most_people < 1 then
    raise exception using
      errcode = 'CF001',
      message = format('most_people is %s', coalesce(_changed_people.most_people::text, 'null')),
      hint = 'Give the number of people to refresh in one call, 1 or more.';
  end if;

  -- One refresh of a consumer at a time: two would write the same rows.
  perform pg_advisory_xact_lock(hashtext(_changed_people.consumer));

  -- An array, not a join: statistics of a queue are wrong whenever it matters.
  return array(
    select distinct changed.person_id
    from track.changed
    where changed.consumer = _changed_people.consumer
    order by changed.person_id
    limit _changed_people.most_people
  );
end;
$$;

comment on function track._changed_people(text, int) is $$
How the refresh of a consumer begins: waits for its turn, then names at most so many people of whom `track.changed` tells it; their rows are the caller's to delete.
Errors: CF001 for fewer than one person.
$$;
