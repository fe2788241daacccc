create or replace function track.rebuild(consumer text default null)
returns bigint
language plpgsql
volatile
-- A definer: it queues all people, which no role may do.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_marked bigint;
  v_names text[];
begin
  if rebuild.consumer is null then
    insert into track.stale (person_id, since, until)
    select person.person_id, '-infinity', 'infinity'
    from track.person
    where person.person_id <> 0;
  else
    v_names := array(select known.consumer from track.consumer as known order by known.position);
    if rebuild.consumer <> all (v_names) then
      perform common.refuse(
        'CF002',
        format('there is no consumer "%s"', left(rebuild.consumer, 100)),
        coalesce(
          'Did you mean "' || common.nearest_name(rebuild.consumer, v_names) || '"?',
          format('The consumers are %s.', array_to_string(v_names, ', '))
        )
      );
    end if;
    insert into track.changed (person_id, consumer, since, until)
    select person.person_id, rebuild.consumer, '-infinity', 'infinity'
    from track.person
    where person.person_id <> 0;
  end if;
  get diagnostics v_marked = row_count;
  return v_marked;
end;
$$;

comment on function track.rebuild(text) is $$
Queues all people for a refresh from scratch. Returns the number of people.
Without `consumer`, everything that is derived from events is refreshed, for instance after a change of
`track.setting`; otherwise one consumer (see `track.consumer`). The workers, or `track.refresh`, process the queue.
Errors: CF002 for an unknown consumer.
$$;

grant execute on function track.rebuild(text) to insights_admin, insights_worker;
