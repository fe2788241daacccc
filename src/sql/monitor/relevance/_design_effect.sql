create or replace function monitor._design_effect(
  people float8,
  successes float8,
  trials float8,
  squares float8,
  products float8,
  trial_squares float8
)
returns float8
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rate constant float8 := successes / nullif(trials, 0);
begin
  return case
    -- Without a success, or with nothing else, people are the trials.
    when v_rate in (0, 1) or people < 2 then trials / people
    else greatest(
      1,
      people / (people - 1) * (squares - 2 * v_rate * products + v_rate ^ 2 * trial_squares)
        / (v_rate * (1 - v_rate) * trials)
    )
  end;
end;
$$;

comment on function monitor._design_effect(float8, float8, float8, float8, float8, float8) is $$
@behavior -*
Returns the variance of a rate over people, who have many trials each, as a multiple of that of independent trials.
By the delta method for a quotient of sums. `squares`, `products`, `trial_squares`: sums over people of successes ²,
successes × trials and trials ². At least 1.
$$;

grant execute on function monitor._design_effect(float8, float8, float8, float8, float8, float8) to insights_reader;
