create or replace function recommend.set_rule(
  name text,
  action text,
  items text[] default null,
  within_item text default null,
  attribute text default null,
  attribute_value text default null,
  language text default null,
  kind text default null,
  person_set text default null,
  is_outside_set boolean default false,
  active_from timestamptz default null,
  active_until timestamptz default null,
  amount float8 default null,
  place int default null,
  period interval default null,
  is_active boolean default true
)
returns recommend.rule
language plpgsql
volatile
-- A definer: it writes the rules and their log, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
-- The log and the messages do not depend on the settings of the session.
set timezone to 'UTC'
set datestyle to 'ISO'
set intervalstyle to 'postgres'
as $$
declare
  v_rule recommend.rule;
begin
  perform recommend._check_session('set a rule', '{}');
  perform recommend._find_items(set_rule.items);
  if set_rule.within_item is not null then
    perform recommend._find_items(array[set_rule.within_item]);
  end if;
  if set_rule.person_set is not null then
    perform track.is_in_person_set(set_rule.person_set, 0);
  end if;

  v_rule.name := set_rule.name;
  v_rule.action := set_rule.action;
  v_rule.kind := set_rule.kind;
  v_rule.has_items := set_rule.items is not null;
  v_rule.within_item_id := (select item.item_id from track.item where item.external_id = set_rule.within_item);
  v_rule.attribute := set_rule.attribute;
  v_rule.attribute_value := set_rule.attribute_value;
  v_rule.language := lower(set_rule.language);
  v_rule.person_set := set_rule.person_set;
  v_rule.is_outside_set := coalesce(set_rule.is_outside_set, false);
  v_rule.active_from := set_rule.active_from;
  v_rule.active_until := set_rule.active_until;
  v_rule.amount := set_rule.amount;
  v_rule.place := set_rule.place;
  v_rule.period := set_rule.period;
  v_rule.is_active := coalesce(set_rule.is_active, true);
  perform recommend._check_rule(v_rule);
  if cardinality(set_rule.items) = 0 then
    perform common.refuse('CF001', 'the list of items is empty', 'Give at least one item, or null.');
  end if;

  insert into recommend.rule
  select v_rule.*
  on conflict on constraint rule_pkey do update
  set
    action = excluded.action,
    kind = excluded.kind,
    has_items = excluded.has_items,
    within_item_id = excluded.within_item_id,
    attribute = excluded.attribute,
    attribute_value = excluded.attribute_value,
    language = excluded.language,
    person_set = excluded.person_set,
    is_outside_set = excluded.is_outside_set,
    active_from = excluded.active_from,
    active_until = excluded.active_until,
    amount = excluded.amount,
    place = excluded.place,
    period = excluded.period,
    is_active = excluded.is_active;
  delete from recommend.rule_item where rule_item.name = v_rule.name;
  insert into recommend.rule_item (name, item_id, position)
  select v_rule.name, item.item_id, row_number() over (order by min(given.position))
  from unnest(set_rule.items) with ordinality as given (external_id, position)
  join track.item on item.external_id = given.external_id
  group by item.item_id;
  perform recommend._log_rule(v_rule.name);
  return v_rule;
end;
$$;

comment on function recommend.set_rule(
  text, text, text[], text, text, text, text, text, text, boolean, timestamptz, timestamptz, float8, int, interval,
  boolean
) is $$
Stores a rule of lists, in place of the one with this name if there is one. It applies to the next list.
`action` is one of those of `recommend.rule`. `exclude`, `include` and `boost` apply to the items that fulfil all given
conditions: `items` (at most 1,000 names), `within_item` (this item and its parts), `attribute` with `attribute_value`,
`language`; at least one of them, or `kind`. `pin` applies to `items`: the first one has the rank `place`, the others
follow. The checks, such as `availability`, have no conditions; to switch one off, set it with `is_active => false`.
`kind` limits a rule to lists of a kind, `person_set` to the people in a set, or outside of it (`is_outside_set`), and
`active_from` and `active_until` to a period.
Errors: CF001 for an argument that is invalid or that the action does not use, CF002 for an unknown item, set, kind or
attribute (names the nearest), CF008 for too many items or too long texts.
$$;

grant execute on function recommend.set_rule(
  text, text, text[], text, text, text, text, text, text, boolean, timestamptz, timestamptz, float8, int, interval,
  boolean
) to insights_admin;
