create or replace function recommend._serving_content(serving_id text)
returns recommend.serving
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fields text[] := string_to_array(left(_serving_content.serving_id, -33), '.');
  v_last constant text := v_fields[cardinality(v_fields)];
  v_arm text[];
begin
  -- An experiment is the last field. It alone begins with a letter, but for the basis, which is the seventh.
  if cardinality(v_fields) > 7 and starts_with(v_last, 'e') then
    v_arm := string_to_array(substr(v_last, 2), '-');
    v_fields := trim_array(v_fields, 1);
  end if;
  if cardinality(v_fields) not between 7 and 8 or v_fields[1] !~ '^[0-9]' then
    return row(
      null, null, null, null, null, null, null, null, null, 'was made by an earlier release', null, null
    )::recommend.serving;
  end if;
  -- In one expression, because each row of a list that is served is read.
  return row(
    right(_serving_content.serving_id, 32)::uuid,
    nullif(v_fields[1]::bigint, 0),
    v_fields[2]::bigint,
    v_fields[3]::int,
    nullif(v_fields[4]::bigint, 0) / 1e9::float8,
    to_timestamp(v_fields[5]::bigint / 1000.0),
    nullif(v_fields[6]::bigint, 0),
    v_fields[7],
    string_to_array(v_fields[8], '-')::bigint[],
    null,
    v_arm[1]::int,
    v_arm[2]::smallint
  )::recommend.serving;
end;
$$;

comment on function recommend._serving_content(text) is $$
@behavior -*
Returns the content of a `serving_id` that this installation has signed: see `recommend._serving_id`.
The signature is not checked here: `recommend._read_serving_id` does, for the ids that clients send back.
$$;

grant execute on function recommend._serving_content(text) to insights_reader, insights_learner;
