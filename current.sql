-- Changes of structure since the last release: see migrations/README.md.

/* --- Opt-out of sale and sharing, limit of use, business days --- */

alter table privacy.purpose add column if not exists opt_in_age smallint check (opt_in_age between 0 and 30);
alter table privacy.purpose add column if not exists shares_data boolean not null default false;

comment on column privacy.purpose.opt_in_age is $$
Age in years below which a purpose needs a grant, whatever its basis (CCPA section 1798.120(c)); null: at no age.
From `minimum_age` on, the grant of the person herself is enough.
$$;
comment on column privacy.purpose.shares_data is $$
Whether data leaves the organization for the purpose: see `privacy.may_share`.
$$;

insert into privacy.purpose (
  purpose, basis, without_basis, opted_out_by_gpc, description, minimum_age, opt_in_age, shares_data
)
values
  (
    'sale', 'legitimate_interests', 'anonymize', true,
    'Giving data to others for a consideration (CCPA section 1798.140(ad)).', 13, 16, true
  ),
  (
    'sharing', 'legitimate_interests', 'anonymize', true,
    'Giving data to others for advertising across contexts (CCPA section 1798.140(ah)).', 13, 16, true
  ),
  (
    'sensitive', 'legitimate_interests', 'anonymize', false,
    'Using sensitive data for more than the service needs (CCPA section 1798.121).', null, null, false
  )
on conflict do nothing;

alter table privacy.regime add column if not exists opt_out_days smallint check (opt_out_days between 1 and 100);
comment on column privacy.regime.opt_out_days is $$
Time for requests of the kinds `opt_out` and `limit_use`, in days from Monday to Friday, without an extension.
Null: `answer_within`. Public holidays count, so that the time is never longer than the law allows.
$$;
update privacy.regime set opt_out_days = 15 where regime = 'ccpa' and opt_out_days is null;

alter table privacy.request drop constraint if exists request_kind_check;
alter table privacy.request add constraint request_kind_check check (kind in (
  'access', 'portability', 'erasure', 'rectification', 'restriction', 'objection', 'opt_out', 'limit_use'
)) not valid;
alter table privacy.request validate constraint request_kind_check;
comment on column privacy.request.kind is $$
`access`, `portability`, `erasure`, `rectification`, `restriction`, `objection`, `opt_out` or `limit_use`.
$$;

do $$
begin
  -- Also when the block runs again, so that the set is complete after the next refresh.
  insert into track.person_set (name, description, members)
  values (
    'shareable', 'People whose data may leave the organization: see privacy.may_share.', 'track.shareable_people'
  )
  on conflict do nothing;
  if found then
    insert into track.changed (person_id, consumer, since, until)
    select person.person_id, 'track.person_set', '-infinity', 'infinity'
    from track.person
    where person.person_id <> 0;
  end if;
end;
$$;

drop function if exists privacy._ages(text[]);
drop function if exists privacy.optional_purposes();
