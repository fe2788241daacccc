create or replace function experiment._refuse_regex(pattern text, problem text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.refuse(
    case
      when _refuse_regex.problem like 'has more%' or _refuse_regex.problem like 'is too%' then 'CF008'
      else 'CF009'
    end,
    format('the regular expression "%s" %s', left(_refuse_regex.pattern, 100), left(_refuse_regex.problem, 100)),
    'Write it without, such as with several conditions.'
  );
end;
$$;

comment on function experiment._refuse_regex(text, text) is $$
Raises CF008 or CF009 for a regular expression that the database does not evaluate.
$$;

grant execute on function experiment._refuse_regex(text, text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
