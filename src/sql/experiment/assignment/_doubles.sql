create or replace function experiment._doubles(value jsonb, depth int default 0)
returns jsonb
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_numbers bigint;
  v_depth int;
begin
  if _doubles.depth = 0 then
    if _doubles.value::text !~ '[0-9.]{16}' then
      return _doubles.value;
    end if;
    -- Counted before the first of them, because each takes about 0.1 ms.
    with recursive part as (
      select _doubles.value, 0 as depth

      union all

      select member.value, part.depth + 1
      from part
      cross join lateral (
        select element.value
        from jsonb_array_elements(case jsonb_typeof(part.value) when 'array' then part.value else '[]' end) as element

        union all

        select entry.value
        from jsonb_each(case jsonb_typeof(part.value) when 'object' then part.value else '{}' end) as entry
      ) as member
      where part.depth <= 64
        and jsonb_typeof(part.value) in ('array', 'object')
    )

    select count(*) filter (where jsonb_typeof(part.value) = 'number' and part.value::text ~ '[0-9.]{16}'),
      max(part.depth)
    into v_numbers, v_depth
    from part;
    perform experiment._check_depth(v_depth);
    if v_numbers > 5000 then
      perform common.refuse(
        'CF008',
        format('the JSON has %s numbers of more than 15 digits', v_numbers),
        'Give at most 5000 of them, or numbers of at most 15 digits.'
      );
    end if;
  end if;
  return case jsonb_typeof(_doubles.value)
    when 'number' then case
      when _doubles.value::text ~ '[0-9.]{16}' then
        experiment._json_number(experiment._double(_doubles.value #>> '{}'))
      else _doubles.value
    end
    when 'array' then (
      select coalesce(jsonb_agg(experiment._doubles(element.value, _doubles.depth + 1) order by element.number), '[]')
      from jsonb_array_elements(_doubles.value) with ordinality as element (value, number)
    )
    when 'object' then (
      select coalesce(jsonb_object_agg(member.key, experiment._doubles(member.value, _doubles.depth + 1)), '{}')
      from jsonb_each(_doubles.value) as member
    )
    else _doubles.value
  end;
end;
$$;

comment on function experiment._doubles(jsonb, integer) is $$
Returns JSON with each number as JavaScript holds it, a double precision number in its least digits.
A number beyond the largest becomes the largest, where JavaScript has Infinity, which JSON cannot hold.
Errors: CF008 for more than 5000 numbers of more than 15 digits, or more than 64 levels around one of them.
$$;

grant execute on function experiment._doubles(jsonb, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
