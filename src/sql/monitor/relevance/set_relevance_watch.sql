create or replace function monitor.set_relevance_watch(
  kind text,
  rolls_back boolean default false,
  alpha float8 default 0.05,
  fewest_people int default 100,
  answer_period interval default '1 day'
)
returns monitor.relevance_setting
language plpgsql
volatile
-- A definer: no role may write the settings. Its arguments are checked, and contain no expression.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
as $$
declare
  v_stored monitor.relevance_setting;
begin
  perform common.check_count('fewest_people', set_relevance_watch.fewest_people, 10, 1000000000);
  if set_relevance_watch.rolls_back is null then
    perform common.refuse('CF001', 'rolls_back is null', 'Use true or false.');
  end if;
  if coalesce(set_relevance_watch.alpha between 0.0001 and 0.2, false) is false then
    perform common.refuse('CF001', format('alpha is %s', coalesce(set_relevance_watch.alpha::text, 'null')),
      'Use a probability from 0.0001 to 0.2.');
  end if;
  if coalesce(set_relevance_watch.answer_period between '1 minute' and '30 days', false) is false then
    perform common.refuse(
      'CF001', format('answer_period is %s', coalesce(set_relevance_watch.answer_period::text, 'null')),
      'Use 1 minute to 30 days.'
    );
  end if;
  if not exists (select from track.item where item.kind = set_relevance_watch.kind) then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', coalesce(left(set_relevance_watch.kind, 100), 'null')),
      coalesce(
        (
          select 'There are ' || string_agg(known.kind, ', ' order by known.kind) || '.'
          from (select distinct item.kind from track.item order by item.kind limit 20) as known
        ),
        'There are no items yet: see track.sync_items.'
      )
    );
  end if;

  insert into monitor.relevance_setting (kind, rolls_back, alpha, fewest_people, answer_period)
  values (
    set_relevance_watch.kind, set_relevance_watch.rolls_back, set_relevance_watch.alpha,
    set_relevance_watch.fewest_people, set_relevance_watch.answer_period
  )
  on conflict on constraint relevance_setting_pkey do update
  set
    rolls_back = excluded.rolls_back,
    alpha = excluded.alpha,
    fewest_people = excluded.fewest_people,
    answer_period = excluded.answer_period
  returning * into v_stored;
  return v_stored;
end;
$$;

comment on function monitor.set_relevance_watch(text, boolean, float8, int, interval) is $$
Sets how `monitor.watch_relevance` treats a kind of item: see `monitor.relevance_setting`.
Errors: CF001 for a value out of bounds, CF002 for a kind that no item has.
$$;

grant execute on function monitor.set_relevance_watch(text, boolean, float8, int, interval) to insights_admin;
