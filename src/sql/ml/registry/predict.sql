create or replace function ml.predict(project text, features jsonb, version int default null)
returns float8
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  return ml._predict(ml._version(project, version), features);
end;
$$;

comment on function ml.predict(text, jsonb, int) is $$
What the version of a project that is in force answers to an object of features: a probability of class 1, or a value.
`features` gives each feature of the model, null where it is unknown, such as `{"tax": 590, "bath": null}`; others are
not looked at.
Null where the model has no answer (a key that it does not know).
Errors: CF001 (a feature is not given or not a number), CF002 (no such project or version), CF006 (none in force).
$$;

grant execute on function ml.predict(text, jsonb, int) to insights_reader, insights_analyst, insights_admin,
  insights_worker;
