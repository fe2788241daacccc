create or replace function experiment._check_strata(strata text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := substr(_check_strata.strata, 1 + strpos(_check_strata.strata, '.'));
begin
  if _check_strata.strata !~ '^(trait|set)\.[A-Za-z0-9_.]{1,100}$' then
    perform experiment._refuse_field('strata', to_jsonb(_check_strata.strata),
      'Give "trait." or "set." with the name of a trait or of a set of people.');
  elsif starts_with(_check_strata.strata, 'set.') then
    perform track.is_in_person_set(v_name, 0);
  elsif not exists (select 1 from track.trait where trait.name = v_name) then
    perform experiment._refuse_unknown_name(
      'trait', v_name, array(select distinct trait.name from track.trait order by trait.name limit 1000),
      'Give the name of a trait that people have.'
    );
  end if;
end;
$$;

comment on function experiment._check_strata(text) is $$
@behavior -*
Raises CF001 or CF002 for a trait or set that cannot be the strata of an experiment.
$$;
