create or replace function track._milliseconds_ahead(client_at timestamptz, received_at timestamptz)
returns bigint
language sql
immutable
parallel safe
-- At UTC, because the epoch of a timestamptz is only stable, and an immutable function over it is never inlined.
return greatest(
  least(
    floor(date_part('epoch', client_at at time zone 'UTC') * 1000)::bigint
      - floor(date_part('epoch', received_at at time zone 'UTC') * 1000)::bigint
      + 8589934592,
    17179869183
  ),
  0
);

comment on function track._milliseconds_ahead(timestamptz, timestamptz) is $$
Returns the time of the client less the arrival, in milliseconds, as a number of 34 bits with an offset of 2^33.
Differences of more than 99 days are cut.
$$;
