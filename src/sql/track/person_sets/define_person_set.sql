create or replace function track.define_person_set(
  name text,
  description text,
  members text,
  consumer text default 'track.person_set',
  queue_people boolean default true
)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_marked bigint;
begin
  perform track._check_set_name(define_person_set.name);
  if define_person_set.members is null
    or define_person_set.members !~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'
    or to_regprocedure(define_person_set.members || '(text, bigint[])') is null
  then
    perform common.refuse(
      'CF002',
      format('there is no function %s(text, bigint[])', coalesce(left(define_person_set.members, 100), 'null')),
      'Give the name of a function room.function(set_name text, people bigint[]) that returns those who belong.'
    );
  end if;

  insert into track.person_set (name, description, members, consumer)
  values (
    define_person_set.name, define_person_set.description, define_person_set.members, define_person_set.consumer
  )
  on conflict on constraint person_set_pkey do update
  set description = excluded.description, members = excluded.members, consumer = excluded.consumer;
  delete from track.person_set_member where person_set_member.name = define_person_set.name;

  if not coalesce(define_person_set.queue_people, true) then
    return 0;
  end if;

  -- The refresh fills the set, a number of people in each call.
  insert into track.changed (person_id, consumer, since, until)
  select person.person_id, define_person_set.consumer, '-infinity', 'infinity'
  from track.person
  where person.person_id <> 0;
  get diagnostics v_marked = row_count;
  return v_marked;
end;
$$;

comment on function track.define_person_set(text, text, text, text, boolean) is $$
@behavior -*
Registers a set whose members a function returns, or replaces it. Returns the number of people that are queued.
`members`: the name of a function `room.function(set_name text, people bigint[]) returns setof bigint`, which returns
those of the given people who belong. `consumer`: the consumer of the refresh that recomputes changed people. The set
is complete when the queue of that consumer has been processed; a set that is replaced keeps its former members until
then. For the owner, because `track.refresh` calls the function with the owner's rights.
Errors: CF001 for an invalid name, CF002 for a function that does not exist.
$$;
