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

create or replace function ml._rows(design ml.design)
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
        case when design.clusters is not null then 'cluster, ' else '' end
          || case when design.status is not null then 'status, ' else '' end
          || case when design.weights is not null then 'prior, ' else '' end
          || case when design.offsets is not null then 'baseline, ' else '' end,
        coalesce('row(' || grouped.columns || ')::text', 'null::text'),
        ml._centred('y', design.y_shift, design.y_scale),
        coalesce(active.columns, ''),
        ml._complete(design)
      ) as list,
      format('(%s) as source', ml._values(design, 'float8')) as source,
      -- Plain columns may be inlined: then nothing is computed twice, or only by the one layer above (when the design
      -- is settled, see ml._settled).
      not design.packed
        and coalesce(active.named, true)
        and (
          design.spread is not null
          or design.weights is null
            and (design.y_shift, design.y_scale, design.y_type) = (0, 1, 'double precision'::regtype)
            and coalesce(active.plain, true)
        ) as plain
    from (
      select string_agg('g' || nth, ', ' order by nth) as columns
      from unnest(design.groups) with ordinality as part (name, nth)
    ) as grouped
    cross join (
      select
        string_agg(
          format(
            ', %s as d%s',
            ml._centred('x' || place, design.shift[place], design.scale[place]),
            place
          ),
          '' order by nth
        ) as columns,
        bool_and(
          (design.shift[place], design.scale[place], design.x_types[place]) = (0, 1, 'double precision'::regtype)
        ) as plain,
        bool_and(design.x[place] ~ '^[a-zA-Z_0-9.]+$') as named
      from unnest(design.active) with ordinality as list (place, nth)
    ) as active
  ) as columns;
end;

comment on function ml._rows(ml.design) is $$
Returns the text of the select that centres and scales a design's rows.
Its columns: g1 …, prior, baseline, key (the group, as text), y, d1 …, complete (see ml._complete).
$$;

grant execute on function
  ml._centred(text, float8, float8),
  ml._rows(ml.design)
to insights_analyst, insights_admin, insights_worker;
