create or replace function privacy.lift_suppression(
  kinds text[],
  names text[],
  lifted_at timestamptz default clock_timestamp()
)
returns bigint
language plpgsql
volatile
-- A definer: it writes privacy.suppression, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_lifted bigint;
begin
  perform privacy._check_names(lift_suppression.kinds, lift_suppression.names);
  if lift_suppression.lifted_at is null or lift_suppression.lifted_at > clock_timestamp() + interval '1 hour' then
    perform common.refuse(
      'CF001', format('lifted_at is %s', coalesce(lift_suppression.lifted_at::text, 'null')),
      'Give the time of the consent, which is not in the future.'
    );
  end if;

  with lifted as (
    select hashed.name_hash
    from privacy._hashed_names(lift_suppression.kinds, lift_suppression.names) as hashed
    join privacy.suppression using (name_hash)
    where suppression.lifted_at is null
      and suppression.since < lift_suppression.lifted_at
    order by hashed.name_hash
    for update of suppression
  )
  update privacy.suppression
  set lifted_at = lift_suppression.lifted_at
  from lifted
  where suppression.name_hash = lifted.name_hash;
  get diagnostics v_lifted = row_count;
  return v_lifted;
end;
$$;

comment on function privacy.lift_suppression(text[], text[], timestamptz) is $$
Ends the suppression of names, because their person gave a new consent at `lifted_at`. Returns the number of names.
A consent that is older than the erasure has no effect. Messages of a time before the consent are refused also
afterwards. Errors: CF001 for an invalid name or a time in the future, CF008 above 10,000 names.
$$;

grant execute on function privacy.lift_suppression(text[], text[], timestamptz) to insights_admin;
