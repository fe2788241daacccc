create or replace function analytics._chronotype(
  active_hours bigint[],
  active_days bigint,
  out mid_activity float8,
  out concentration float8,
  out p_value float8,
  out chronotype text
)
-- An SQL function with settings is not inlined, and is started again for each row.
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count float8 := 0;
  v_cosine float8 := 0;
  v_sine float8 := 0;
  v_resultant float8;
begin
  for v_hour in 0 .. 23 loop
    v_count := v_count + active_hours[v_hour + 1];
    v_cosine := v_cosine + active_hours[v_hour + 1] * cosd(15 * v_hour + 7.5);
    v_sine := v_sine + active_hours[v_hour + 1] * sind(15 * v_hour + 7.5);
  end loop;
  if v_count = 0 then
    return;
  end if;
  concentration := least(sqrt(v_cosine ^ 2 + v_sine ^ 2) / v_count, 1);
  v_resultant := active_days * concentration;
  p_value := least(
    exp(sqrt(1 + 4 * active_days + 4 * (active_days ^ 2 - v_resultant ^ 2)) - (1 + 2 * active_days)), 1
  );
  -- Without a concentration, the mean of the hours is arbitrary.
  if concentration > 1e-9 then
    mid_activity := mod((atan2d(v_sine, v_cosine) / 15 + 24)::numeric, 24);
  end if;
  chronotype := case
    when mid_activity is null or p_value >= 0.05 then 'undetermined'
    when mid_activity >= 22 or mid_activity < 5 then 'definitely_evening'
    when mid_activity < 8 then 'definitely_morning'
    when mid_activity < 10 then 'moderately_morning'
    when mid_activity < 17 then 'intermediate'
    else 'moderately_evening'
  end;
end;
$$;

comment on function analytics._chronotype(bigint[], bigint) is $$
Returns mid-activity and chronotype from the numbers of active hours of a person by hour of the day.
`active_hours`: 24 numbers; `active_days`: days on which she was active. `mid_activity`: circular mean of the hours,
from 0 to 24; null when they have none. `concentration`: mean resultant length, from 0 (no direction) to 1 (always the
same hour). `p_value`: of Rayleigh's test of uniformity, in the approximation of Zar (Biostatistical Analysis, 1999,
27.4), with the days as independent observations, since hours of a day are not. See `analytics.my_chronotype` for the
types. All are null without active hours.
$$;

grant execute on function analytics._chronotype(bigint[], bigint) to insights_reader;
