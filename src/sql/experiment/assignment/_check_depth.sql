create or replace function experiment._check_depth(depth int)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_depth.depth > 64 then
    perform common.refuse(
      'CF008', 'the JSON is nested deeper than 64 levels', 'Give conditions and values of at most 64 levels.'
    );
  end if;
end;
$$;

comment on function experiment._check_depth(integer) is $$
Raises CF008 for JSON that is nested deeper than 64 levels.
$$;

grant execute on function experiment._check_depth(integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
