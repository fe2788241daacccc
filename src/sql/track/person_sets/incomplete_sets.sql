create or replace function track.incomplete_sets()
returns setof text
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_function text;
begin
  for v_function in
    select consumer.incomplete_sets
    from track.consumer
    where consumer.incomplete_sets is not null
    order by consumer.position
  loop
    return query execute format(
      'select name from %I.%I() as name', split_part(v_function, '.', 1), split_part(v_function, '.', 2)
    );
  end loop;
end;
$$;

comment on function track.incomplete_sets() is $$
@behavior -*
Returns the sets of people that `track.check_sets` refuses: a rule of retention has deleted people of them.
For functions that read all sets, which leave them out.
$$;

grant execute on function track.incomplete_sets() to insights_reader;
