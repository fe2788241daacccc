create or replace function ml._sums_statement(head text, terms text[], tail text)
returns text
language sql
stable
parallel safe
begin atomic
  -- The planner compares each aggregate with all others of its query, which takes a minute for thirty thousand: a wide
  -- design is summed in parts, which are joined by the group.
  select
    case
      when count(*) = 1 then format('select %s, array[%s] as sums %s', head, min(part.list), tail)
      else format(
        'select part1.key, part1.complete, part1.row_count, %s from %s',
        string_agg(format('part%s.sums', part.nth), ' || ' order by part.nth),
        string_agg(
          format('(select %s, array[%s] as sums %s) as part%s', head, part.list, tail, part.nth)
            || case
              when part.nth > 1 then format(
                ' on part%1$s.complete = part1.complete and coalesce(part%1$s.key, '''') = coalesce(part1.key, '''')',
                part.nth
              )
              else ''
            end,
          ' join ' order by part.nth
        )
      )
    end
  from (
    select (place - 1) / 1500 + 1 as nth, string_agg(term, ', ' order by place) as list
    from unnest(terms) with ordinality as listed (term, place)
    group by 1
  ) as part;
end;

comment on function ml._sums_statement(text, text[], text) is $$
Returns the text of a statement for ml._sums that computes the terms, each an aggregate, over `tail` (`from …`).
`head` is a select list with the columns key, complete and row_count.
$$;

grant execute on function ml._sums_statement(text, text[], text) to insights_analyst, insights_admin, insights_worker;
