create or replace function common.author()
returns text
language sql
stable
begin atomic
  select coalesce(
    case when pg_has_role(session_user, 'insights_api', 'member') then
      nullif(current_setting('insights.person', true), '')
    end,
    session_user::text
  );
end;

comment on function common.author() is $$
Returns the name of the caller: the person of the token, or the login.
A login that is not one of the API cannot claim the name of another person.
$$;

grant execute on function common.author() to insights_analyst, insights_admin, insights_worker;
