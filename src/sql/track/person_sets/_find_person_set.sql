create or replace function track._find_person_set(name text)
returns track.person_set
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_set track.person_set;
begin
  select * into v_set
  from track.person_set
  where person_set.name = _find_person_set.name;
  if not found then
    perform common.refuse(
      'CF002',
      format('there is no set of people "%s"', coalesce(left(_find_person_set.name, 100), 'null')),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            _find_person_set.name,
            array(select known.name from track.person_set as known order by known.name limit 1000)
          )
          || '"?',
        'The sets are the rows of track.person_set.'
      )
    );
  end if;
  return v_set;
end;
$$;

comment on function track._find_person_set(text) is $$
Returns a set of people by its name. Errors: CF002 (names the nearest).
$$;

grant execute on function track._find_person_set(text) to insights_reader, insights_admin, insights_worker;
