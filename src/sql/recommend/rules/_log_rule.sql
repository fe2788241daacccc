create or replace function recommend._log_rule(name text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into recommend.rule_log (name, settings, actor)
  values (
    _log_rule.name,
    (
      select
        jsonb_strip_nulls(to_jsonb(rule) - '{name,has_items,within_item_id}'::text[] || jsonb_build_object(
          'within_item', (select item.external_id from track.item where item.item_id = rule.within_item_id),
          'items', (
            select jsonb_agg(item.external_id order by rule_item.position)
            from recommend.rule_item
            join track.item using (item_id)
            where rule_item.name = rule.name
          )
        ))
      from recommend.rule
      where rule.name = _log_rule.name
    ),
    common.author()
  );
end;
$$;

comment on function recommend._log_rule(text) is $$
@behavior -*
Adds the present columns of a rule to the log, with the caller.
$$;
