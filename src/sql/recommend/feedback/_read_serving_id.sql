/* A definer: no role may read the keys. It returns what the id itself contains. */
create or replace function recommend._read_serving_id(serving_id text)
returns recommend.serving
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_payload text;
  v_fields text[];
  v_serving recommend.serving;
begin
  -- The longest id is that of a slot with a pool of 1,000 items.
  if _read_serving_id.serving_id is null or length(_read_serving_id.serving_id) not between 33 and 20000 then
    v_serving.problem := 'is not the serving_id of a list';
    return v_serving;
  end if;

  v_payload := left(_read_serving_id.serving_id, -33);
  if not exists (
    select
    from recommend.secret
    where recommend._sign(v_payload, secret.inner_key, secret.outer_key) = _read_serving_id.serving_id
  ) then
    v_serving.problem := case
      when _read_serving_id.serving_id ~ '^[0-9]+\..*\.[0-9a-f]{32}$' then 'has an invalid signature'
      else 'is not the serving_id of a list'
    end;
    return v_serving;
  end if;

  -- From here on, the content is what this installation has signed.
  -- Pages are signed by the same keys.
  if starts_with(v_payload, 'page.') then
    v_serving.problem := 'is the next_page of a list, not a serving_id';
    return v_serving;
  end if;
  v_fields := string_to_array(v_payload, '.');
  -- An experiment is the last field. It alone begins with a letter, but for the basis, which is the seventh.
  if cardinality(v_fields) > 7 and starts_with(v_fields[cardinality(v_fields)], 'e') then
    v_serving.experiment_id := split_part(substr(v_fields[cardinality(v_fields)], 2), '-', 1)::int;
    v_serving.variation := split_part(v_fields[cardinality(v_fields)], '-', 2)::smallint;
    v_fields := trim_array(v_fields, 1);
  end if;
  if cardinality(v_fields) not between 7 and 8 or v_payload !~ '^[0-9]' then
    v_serving.problem := 'was made by an earlier release';
    return v_serving;
  end if;
  v_serving.serving_key := right(_read_serving_id.serving_id, 32)::uuid;
  v_serving.model_id := nullif(v_fields[1]::bigint, 0);
  v_serving.item_id := v_fields[2]::bigint;
  v_serving.rank := v_fields[3]::int;
  v_serving.propensity := nullif(v_fields[4]::bigint, 0) / 1e9::float8;
  v_serving.listed_at := to_timestamp(v_fields[5]::bigint / 1000.0);
  v_serving.identity_id := nullif(v_fields[6]::bigint, 0);
  v_serving.basis := v_fields[7];
  v_serving.pool := string_to_array(v_fields[8], '-')::bigint[];
  return v_serving;
end;
$$;

comment on function recommend._read_serving_id(text) is $$
@behavior -*
Returns the content of a `serving_id`, after the check of its signature: see `recommend._serving_id`.
Of an invalid id, only `problem` is returned. The age and the person are checked by the caller.
$$;

grant execute on function recommend._read_serving_id(text) to insights_reader, insights_learner;
