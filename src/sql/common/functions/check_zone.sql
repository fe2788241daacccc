create or replace function common.check_zone(zone text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if check_zone.zone is null or length(check_zone.zone) > 100
    or lower(check_zone.zone) <> 'utc'
      and not exists (select from pg_timezone_names as known where lower(known.name) = lower(check_zone.zone))
  then
    perform common.refuse(
      'CF002',
      format('there is no time zone "%s"', coalesce(left(check_zone.zone, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          left(check_zone.zone, 100),
          array(
            select known.name
            from pg_timezone_names as known
            where known.name !~ '^(posix|right)/'
            order by known.name
          )
        ) || '"?',
        'Give a name of the IANA time zone database, such as Europe/Berlin, or UTC.'
      )
    );
  end if;
end;
$$;

comment on function common.check_zone(text) is $$
Raises CF002 unless the argument is the name of a time zone of the IANA database, or UTC, in any case of letters.
$$;

grant execute on function common.check_zone(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
