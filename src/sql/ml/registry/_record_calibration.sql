/*
 * A definer: it writes the registry, and is granted to those who may train. It reads its arguments only, never a
 * relation.
 */
create or replace function ml._record_calibration(model_id bigint, part text, bins jsonb)
returns void
language sql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  delete from ml.calibration
  where calibration.model_id = _record_calibration.model_id
    and calibration.part = _record_calibration.part;

  insert into ml.calibration (
    model_id, part, class_number, bin, class, row_count, mean_predicted, fraction_positive, fraction_lower,
    fraction_upper
  )
  select
    _record_calibration.model_id, _record_calibration.part, entry.class_number,
    row_number() over (partition by entry.class_number order by listed.place), entry.class, entry.row_count,
    entry.mean_predicted, entry.fraction_positive, greatest(entry.fraction_lower, 0), least(entry.fraction_upper, 1)
  from jsonb_array_elements(_record_calibration.bins) with ordinality as listed (bin, place)
  cross join lateral jsonb_populate_record(null::ml.calibration, listed.bin) as entry;
$$;

comment on function ml._record_calibration(bigint, text, jsonb) is $$
Stores the calibration of a version on the rows `held out` or the `latest` ones, in place of the one before.
$$;

grant execute on function ml._record_calibration(bigint, text, jsonb) to insights_admin, insights_worker;
