create or replace function experiment.benjamini_hochberg(p_values float8[])
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform experiment._check_p_values(p_values);
  return (
    select coalesce(array_agg(adjusted.p_value order by adjusted.position), '{}')
    from (
      select
        ranked.position,
        case when ranked.p_value is not null then
          min(least(ranked.p_value * ranked.count_all / ranked.rank, 1)) over (order by ranked.rank desc)
        end as p_value
      from (
        select
          given.position,
          given.p_value,
          count(given.p_value) over () as count_all,
          row_number() over (order by given.p_value nulls last, given.position) as rank
        from unnest(p_values) with ordinality as given (p_value, position)
      ) as ranked
    ) as adjusted
  );
end;
$$;

comment on function experiment.benjamini_hochberg(float8[]) is $$
Returns p-values adjusted for their number by the method of Benjamini and Hochberg, in the order of the given ones.
Declaring those below alpha significant keeps the expected share of false ones among them below alpha.
A null stays null and is not counted.
$$;

grant execute on function experiment.benjamini_hochberg(float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
