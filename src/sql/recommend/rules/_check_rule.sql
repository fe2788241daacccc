create or replace function recommend._check_rule(rule recommend.rule)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rule constant recommend.rule := _check_rule.rule;
  v_checks constant text[] := '{topic,availability,prerequisites,capacity,language,not_again}';
  v_actions constant text[] := v_checks || '{exclude,include,boost,pin}';
  -- Lists name the state of an item in the place of a rule.
  v_states constant text[] :=
    '{own,completed,known,enrolled,taken,dropped,dismissed,disliked,kind,merged,rank,excluded}';
  v_has_condition constant boolean := v_rule.has_items or v_rule.within_item_id is not null
    or v_rule.attribute is not null or v_rule.language is not null;
begin
  if v_rule.name is null or length(v_rule.name) > 100 or v_rule.name !~ '^[a-z][a-z0-9_]*([.][a-z0-9_]+)*$' then
    perform common.refuse(
      'CF001',
      format('"%s" cannot be the name of a rule', coalesce(left(v_rule.name, 100), 'null')),
      'Use lower case letters, digits and "_", with "." between parts, and at most 100 characters.'
    );
  elsif v_rule.name = any (v_states) then
    perform common.refuse('CF001', format('"%s" cannot be the name of a rule', v_rule.name),
      'It names a state of an item for a person: choose another name.');
  elsif v_rule.action is null or v_rule.action <> all (v_actions) then
    perform common.refuse(
      'CF001',
      format('the action is %s', coalesce('"' || left(v_rule.action, 100) || '"', 'null')),
      'Use one of ' || array_to_string(v_actions, ', ') || '.'
    );
  end if;

  -- Arguments that the action needs, or has no use for.
  if v_rule.action = 'boost' then
    if v_rule.amount is null or not v_rule.amount between -1000000 and 1000000 then
      perform common.refuse('CF001', format('amount is %s', coalesce(v_rule.amount::text, 'null')),
        'Give the number that is added to the scores, from -1000000 to 1000000.');
    end if;
  elsif v_rule.amount is not null then
    perform common.refuse('CF001', format('amount is %s', v_rule.amount), 'Only a boost has an amount.');
  end if;
  if v_rule.action = 'pin' then
    if v_rule.place is null or not v_rule.place between 1 and 1000 then
      perform common.refuse('CF001', format('place is %s', coalesce(v_rule.place::text, 'null')),
        'Give the rank of the first item, from 1 to 1000.');
    end if;
    if not v_rule.has_items then
      perform common.refuse('CF001', 'the rule pins no items', 'Give the names of items.');
    end if;
  elsif v_rule.place is not null then
    perform common.refuse('CF001', format('place is %s', v_rule.place), 'Only a pin has a place.');
  end if;
  if v_rule.action = 'not_again' then
    if v_rule.period is null or not (v_rule.period > '0' and v_rule.period <= '10 years') then
      perform common.refuse('CF001', format('period is %s', coalesce(v_rule.period::text, 'null')),
        'Give the period for which an item is left out, up to 10 years.');
    end if;
  elsif v_rule.period is not null then
    perform common.refuse('CF001', format('period is %s', v_rule.period), 'Only "not_again" has a period.');
  end if;

  if (v_rule.attribute is null) <> (v_rule.attribute_value is null) then
    perform common.refuse(
      'CF001',
      format(
        'attribute is %s and attribute_value is %s',
        coalesce('"' || left(v_rule.attribute, 50) || '"', 'null'),
        coalesce('"' || left(v_rule.attribute_value, 50) || '"', 'null')
      ),
      'Give both, or none.'
    );
  elsif length(v_rule.attribute) > 200 or length(v_rule.attribute_value) > 1000 then
    perform common.refuse('CF008', format('attribute and attribute_value have %s and %s characters',
      length(v_rule.attribute), length(v_rule.attribute_value)), 'They have at most 200 and 1000.');
  elsif not exists (select from track.item where item.attributes ? v_rule.attribute)
    and v_rule.attribute is not null
  then
    perform common.refuse(
      'CF002',
      format('no item has the attribute "%s"', left(v_rule.attribute, 100)),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            v_rule.attribute,
            array(
              select distinct attribute.name
              from (select item.attributes from track.item where item.attributes <> '{}' limit 1000) as item
              cross join lateral jsonb_object_keys(item.attributes) as attribute (name)
              order by attribute.name
              limit 1000
            )
          )
          || '"?',
        'Attributes are the keys of track.item.attributes.'
      )
    );
  elsif v_rule.language !~ '^[a-z]{2,8}(-[a-z0-9]{1,8})*$' or length(v_rule.language) > 35 then
    perform common.refuse('CF001', format('"%s" is not a language', left(v_rule.language, 100)),
      'Give a language as in track.item.language, such as "de" or "pt-br".');
  end if;
  if v_rule.action in ('exclude', 'include', 'boost') then
    if not v_has_condition and v_rule.kind is null then
      perform common.refuse('CF001', format('the rule "%s" has no condition', v_rule.name),
        'Give items, within_item, an attribute, a language or a kind.');
    end if;
  elsif v_has_condition and (v_rule.action <> 'pin'
    or v_rule.within_item_id is not null or v_rule.attribute is not null or v_rule.language is not null)
  then
    perform common.refuse('CF001', format('a rule with the action "%s" has conditions', v_rule.action),
      'Only rules that exclude, include or boost have conditions; a pin has items.');
  end if;

  if v_rule.kind is not null and not exists (select from track.item where item.kind = v_rule.kind) then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', left(v_rule.kind, 100)),
      'There are '
        || coalesce((select string_agg(distinct item.kind, ', ' order by item.kind) from track.item), 'no items yet')
        || '.'
    );
  elsif v_rule.is_outside_set and v_rule.person_set is null then
    perform common.refuse('CF001', 'is_outside_set is true without a person_set', 'Give the name of a set of people.');
  elsif v_rule.active_from >= v_rule.active_until then
    perform common.refuse(
      'CF001',
      format('active_until is %s', recommend._time_text(v_rule.active_until)),
      'Give a time after active_from.'
    );
  end if;
end;
$$;

comment on function recommend._check_rule(recommend.rule) is $$
@behavior -*
Raises CF001, CF002 or CF008 for a rule that cannot be stored, with the value that is invalid.
$$;
