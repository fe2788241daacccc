create or replace function experiment._refuse_unknown_name(subject text, name text, candidates text[], hint text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.refuse(
    'CF002',
    format(
      'there is no %s "%s"',
      left(_refuse_unknown_name.subject, 100), coalesce(left(_refuse_unknown_name.name, 100), 'null')
    ),
    coalesce(
      'Did you mean "' || left(common.nearest_name(_refuse_unknown_name.name, _refuse_unknown_name.candidates), 100)
        || '"?',
      left(_refuse_unknown_name.hint, 100)
    )
  );
end;
$$;

comment on function experiment._refuse_unknown_name(text, text, text[], text) is $$
@behavior -*
Raises CF002 for an unknown name, with the nearest of the candidates, or else the hint.
$$;

grant execute on function experiment._refuse_unknown_name(text, text, text[], text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
