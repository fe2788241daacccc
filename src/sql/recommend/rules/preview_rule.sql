create or replace function recommend.preview_rule(
  person text,
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
  is_active boolean default true,
  top int default 10
)
returns setof recommend.rule_effect
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kind constant text := coalesce(preview_rule.kind, 'course');
  v_before recommend.recommendation[] := array(
    select listed from recommend.for_person(preview_rule.person, preview_rule.top, v_kind) as listed
  );
  v_after recommend.recommendation[];
begin
  -- The rule is stored in a subtransaction, which is rolled back: the list is the one that people would get.
  begin
    perform recommend.set_rule(
      preview_rule.name, preview_rule.action, preview_rule.items, preview_rule.within_item, preview_rule.attribute,
      preview_rule.attribute_value, preview_rule.language, preview_rule.kind, preview_rule.person_set,
      preview_rule.is_outside_set, preview_rule.active_from, preview_rule.active_until, preview_rule.amount,
      preview_rule.place, preview_rule.period, preview_rule.is_active
    );
    v_after := array(
      select listed from recommend.for_person(preview_rule.person, preview_rule.top, v_kind) as listed
    );
    raise sqlstate 'CFPRE';
  exception
    when sqlstate 'CFPRE' then null;
  end;

  return query
  select
    present.rank, former.rank, coalesce(present.item, former.item), coalesce(present.title, former.title)
  from unnest(v_after) as present
  full join unnest(v_before) as former using (item_id)
  order by present.rank, former.rank;
end;
$$;

comment on function recommend.preview_rule(
  text, text, text, text[], text, text, text, text, text, text, boolean, timestamptz, timestamptz, float8, int,
  interval, boolean, int
) is $$
@behavior -mutationField +queryField
Returns the list of the first `top` items for a person as it would be with a rule, beside the present one.
The arguments of the rule are those of `recommend.set_rule`; nothing is stored. The kind of the list is that of the
rule, or `course`.
Errors: those of `recommend.set_rule` and `recommend.for_person`; the read is logged in `privacy.disclosure`.
$$;

grant execute on function recommend.preview_rule(
  text, text, text, text[], text, text, text, text, text, text, boolean, timestamptz, timestamptz, float8, int,
  interval, boolean, int
) to insights_admin;
