create or replace function experiment._refuse_condition(value jsonb, place text, wanted text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.refuse(
    'CF009',
    format(
      '%s is %s, not %s',
      left(_refuse_condition.place, 100),
      coalesce(left(_refuse_condition.value::text, 100), 'missing'),
      left(_refuse_condition.wanted, 100)
    ),
    'Give what GrowthBook''s clients read, such as {"condition": {"country": {"$in": ["DE", "AT"]}}}.'
  );
end;
$$;

comment on function experiment._refuse_condition(jsonb, text, text) is $$
Raises CF009 for a part of a condition, a feature or an experiment that is not what GrowthBook's clients read.
$$;

grant execute on function experiment._refuse_condition(jsonb, text, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
