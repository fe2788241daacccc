create or replace function ml._separation(design ml.design, place integer)
returns text
language sql
stable
begin atomic
  select format(
    'column %s separates the classes, at least for some rows, so its coefficient has no finite value',
    ml._label(design, place)
  );
end;

comment on function ml._separation(ml.design, integer) is $$
Returns the message for complete and quasi-complete separation (Albert and Anderson, Biometrika 71, 1984).
$$;

grant execute on function ml._separation(ml.design, integer) to insights_analyst, insights_admin, insights_worker;
