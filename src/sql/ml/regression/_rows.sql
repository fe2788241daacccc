create or replace function ml._centred(name text, shift float8, scale float8)
returns text
language sql
stable
parallel safe
begin atomic
  select case when shift = 0 then name else format('(%s - %L::float8)', name, shift) end
    || case when scale = 1 then '' else format(' * %L::float8', scale) end;
end;

comment on function ml._centred(text, float8, float8) is $$
Returns the text of (name - shift) * scale, without a shift of 0 and a scale of 1.
$$;

create or replace function ml._rows(design jsonb)
returns text
language sql
stable
begin atomic
  select case
    when columns.plain then 'select ' || columns.list || ' from ' || columns.source
    else ml._layer(columns.list, columns.source)
  end
  from (
    select
      format('%s%s%s as key, %s as y%s, %s as complete',
        coalesce(grouped.columns || ', ', ''),
        case when design ? 'clusters' then 'cluster, ' else '' end
          || case when design ? 'status' then 'status, ' else '' end
          || case when design ? 'weights' then 'prior, ' else '' end
          || case when design ? 'offsets' then 'baseline, ' else '' end,
        coalesce('row(' || grouped.columns || ')::text', 'null::text'),
        ml._centred('y', (design ->> 'y_shift')::float8, (design ->> 'y_scale')::float8),
        coalesce(active.columns, ''),
        ml._complete(design)
      ) as list,
      format('(%s) as source', ml._values(design, 'float8')) as source,
      -- Plain columns may be inlined: then nothing is computed twice, or only by the one layer above (when the design
      -- is settled, see ml._settled).
      not (design ->> 'array')::boolean
        and coalesce(active.named, true)
        and (
          design ? 'spread'
          or not design ? 'weights'
            and (design -> 'y_shift', design -> 'y_scale', design ->> 'y_type') = ('0', '1', 'double precision')
            and coalesce(active.plain, true)
        ) as plain
    from (
      select string_agg('g' || nth, ', ' order by nth) as columns
      from jsonb_array_elements(design -> 'groups') with ordinality as part (name, nth)
    ) as grouped
    cross join (
      select
        string_agg(
          format(
            ', %s as d%s',
            ml._centred(
              'x' || place,
              (design -> 'shift' ->> place - 1)::float8,
              (design -> 'scale' ->> place - 1)::float8
            ),
            place
          ),
          '' order by nth
        ) as columns,
        bool_and(
          (design -> 'shift' -> place - 1, design -> 'scale' -> place - 1, design -> 'x_types' ->> place - 1)
            = ('0', '1', 'double precision')
        ) as plain,
        bool_and(design -> 'x' ->> place - 1 ~ '^[a-zA-Z_0-9.]+$') as named
      from jsonb_array_elements_text(design -> 'active') with ordinality as list (value, nth),
        lateral (select value::int) as part (place)
    ) as active
  ) as columns;
end;

comment on function ml._rows(jsonb) is $$
Returns the text of the select that centres and scales a design's rows.
Its columns: g1 …, prior, baseline, key (the group, as text), y, d1 …, complete (see ml._complete).
$$;

grant execute on function
  ml._centred(text, float8, float8),
  ml._rows(jsonb)
to insights_analyst, insights_admin, insights_worker;
