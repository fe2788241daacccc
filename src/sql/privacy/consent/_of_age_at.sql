create or replace function privacy._of_age_at(birth_date date, age smallint)
returns timestamptz
language sql
immutable
parallel safe
-- The birthday has started everywhere at noon UTC. Who was born on 29 February is of age on 1 March of a common year.
return (
  greatest(
    (birth_date + make_interval(years => age))::date,
    ((birth_date - 1) + make_interval(years => age))::date + 1
  ) + time '12:00'
) at time zone 'UTC';

comment on function privacy._of_age_at(date, smallint) is $$
Returns the time from which a person born on a date has an age in years, in every time zone.
$$;

grant execute on function privacy._of_age_at(date, smallint)
to insights_reader, insights_learner, insights_admin, insights_worker;
