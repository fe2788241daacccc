create or replace function ml._check_dimensions(dimensions int)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if dimensions is null or dimensions not between 16 and 16000 then
    perform common.refuse('CF001', format('dimensions is %s', coalesce(dimensions::text, 'null')),
      'Give a number from 16 to 16000; 256 to 1024 are enough for thousands of texts.');
  end if;
end;
$$;

comment on function ml._check_dimensions(int) is $$
Raises CF001 unless the number of dimensions of hashed vectors is from 16 to 16,000.
$$;

grant execute on function ml._check_dimensions(int) to insights_analyst, insights_admin, insights_worker;
