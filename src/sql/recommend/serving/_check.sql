create or replace function recommend._check(
  top int,
  kind text
)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.check_count('top', _check.top, 1, 1000);
  if not exists (select from track.item where item.kind = _check.kind) then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', coalesce(left(_check.kind, 100), 'null')),
      coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ' order by item.kind) || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;
end;
$$;

comment on function recommend._check(int, text) is $$
@behavior -*
Raises CF001 unless `top` is from 1 to 1000, and CF002 for a kind that no item has.
$$;

grant execute on function recommend._check(int, text) to insights_reader, insights_learner;
