create or replace function monitor._backoff(failures int, longest interval)
returns interval
language sql
volatile
set search_path to pg_catalog, pg_temp
as $$
  select least(interval '30 seconds' * 2 ^ least(failures - 1, 20), longest) * (0.75 + random() / 2)
$$;

comment on function monitor._backoff(int, interval) is $$
Returns the time to wait after a number of failures: it doubles with each, and is less or more by a quarter at random.
$$;
