/* PostgreSQL raises an error for a sum beyond double precision: half of it is compared with 2^1023. */
create or replace function experiment._ieee_sum(a double precision, b double precision)
returns double precision
language sql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when least(abs(a), abs(b)) < 1e290 or greatest(abs(a), abs(b)) >= 'infinity' then a + b
    when abs(a / 2 + b / 2) >= 8.9884656743115795e307 then sign(a) * 'infinity'::double precision
    else a + b
  end;
$$;

comment on function experiment._ieee_sum(double precision, double precision) is $$
Returns a sum as JavaScript has it: infinite where it is beyond double precision.
$$;

grant execute on function experiment._ieee_sum(double precision, double precision)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment.bucket_ranges(
  variations int,
  coverage double precision default 1,
  weights double precision[] default null
)
returns double precision[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_coverage double precision := case
    when bucket_ranges.coverage < 0 then 0
    when bucket_ranges.coverage > 1 and bucket_ranges.coverage <> 'nan' then 1
    else coalesce(bucket_ranges.coverage, 1)
  end;
  v_weights double precision[] := bucket_ranges.weights;
  v_weight double precision;
  v_total double precision := 0;
  v_start double precision := 0;
  v_width double precision;
  v_ranges double precision[] := '{}';
begin
  if bucket_ranges.variations > 10000 then
    perform common.refuse(
      'CF008', format('%s variations', bucket_ranges.variations), 'An experiment has at most 10000 variations.'
    );
  elsif bucket_ranges.variations is null then
    return null;
  end if;
  if cardinality(v_weights) = bucket_ranges.variations then
    foreach v_weight in array v_weights loop
      v_total := experiment._ieee_sum(v_total, coalesce(v_weight, 0));
    end loop;
  end if;
  if cardinality(v_weights) is distinct from bucket_ranges.variations
    or v_total < 0.99
    or v_total > 1.01 and v_total <> 'nan'
  then
    v_weights := array_fill(
      1::double precision / nullif(bucket_ranges.variations, 0), array[greatest(bucket_ranges.variations, 0)]
    );
  end if;
  foreach v_weight in array v_weights loop
    v_weight := coalesce(v_weight, 0);
    v_width := case
      -- A product that rounds to 0, at most 2^-1075, would be an error.
      when abs(v_weight) >= 1 or greatest(v_coverage, abs(v_weight)) = 'nan' then v_coverage * v_weight
      when least(v_coverage, abs(v_weight)) > 1e-100 then v_coverage * v_weight
      when v_coverage * 2 ^ 540 * (abs(v_weight) * 2 ^ 540) <= 32 then 0
      else v_coverage * v_weight
    end;
    v_ranges := v_ranges || v_start || experiment._ieee_sum(v_start, v_width);
    v_start := experiment._ieee_sum(v_start, v_weight);
  end loop;
  return v_ranges;
end;
$$;

comment on function experiment.bucket_ranges(integer, double precision, double precision[]) is $$
Returns the range of each variation of an experiment between 0 and 1, the low and the high bound of each in turn.
The low bounds are the sums of the weights before; each range is the share `coverage` of its weight. As in GrowthBook's
clients, coverage is taken as between 0 and 1, and weights that are missing, of another number or do not add up to 1
within 0.01 as equal. A null among the weights is 0; with a NaN, also from infinite weights of both signs, the sum is
not compared, and the bounds that follow are NaN or infinite. `coverage` null: 1.
$$;

grant execute on function experiment.bucket_ranges(integer, double precision, double precision[])
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
