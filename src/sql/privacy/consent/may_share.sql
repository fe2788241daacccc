create or replace function privacy.may_share(person_id bigint)
returns boolean
language plpgsql
stable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return exists (select from privacy.shareable_people(array[may_share.person_id]));
end;
$$;

comment on function privacy.may_share(bigint) is $$
@behavior -queryField
Returns whether the data of a person may be given to others: sold or shared in the sense of the CCPA.
True when she may be processed for each purpose with `privacy.purpose.shares_data`: `sale` and `sharing` are allowed
until she opts out, or her browser sends Global Privacy Control; below 16 years they need a grant, below 13 years one of
a guardian. False while her data is restricted, and for person 0. The set of people `shareable` contains those for whom
it is true, as of the last refresh: use it as the argument `among` of an analysis whose rows leave the organization.
$$;

grant execute on function privacy.may_share(bigint) to insights_reader, insights_learner, insights_admin,
  insights_worker;
