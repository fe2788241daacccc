create or replace function recommend._served_rows(
  list recommend.recommendation[],
  person_id bigint,
  identity_id bigint,
  experiment_id int,
  variation smallint,
  function_name text
)
returns setof recommend.impression
language sql
stable
parallel safe
begin atomic
  select
    _served_rows.person_id,
    right(listed.serving_id, 32)::uuid,
    _served_rows.identity_id,
    nullif(split_part(listed.serving_id, '.', 1), '0')::bigint,
    listed.item_id,
    listed.rank,
    listed.basis,
    listed.propensity,
    -- The eighth field of the id of a marked slot.
    case
      when listed.propensity is not null then string_to_array(split_part(listed.serving_id, '.', 8), '-')::bigint[]
    end,
    -- That of the transaction, in the milliseconds of the id.
    date_trunc('milliseconds', now()),
    true,
    null::timestamptz,
    null::timestamptz,
    null::timestamptz,
    null::timestamptz,
    null::real,
    null::timestamptz,
    null::timestamptz,
    _served_rows.experiment_id,
    _served_rows.variation,
    listed.score,
    _served_rows.function_name
  from unnest(_served_rows.list) as listed;
end;

comment on function recommend._served_rows(
  recommend.recommendation[], bigint, bigint, int, smallint, text
) is $$
@behavior -*
Returns the rows of a list as they are recorded for a person when they are served.
In SQL, so that the statement which inserts them contains it.
$$;
