create or replace function ml._fits_vector(
  count bigint,
  what text
)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if count > 16000 then
    perform common.refuse('CF008', format('%s %s are too many', count, left(what, 100)),
      'A row of a matrix is a pgvector vector, which has at most 16000 entries.');
  end if;
end;
$$;

comment on function ml._fits_vector(bigint, text) is $$
Raises CF008 when `count` is above 16,000, the most entries that a vector can have. `what` is for the message.
$$;

grant execute on function ml._fits_vector(bigint, text) to insights_analyst, insights_admin, insights_worker;
