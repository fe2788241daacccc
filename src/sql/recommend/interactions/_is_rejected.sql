create or replace function recommend._is_rejected(
  rejected_at timestamptz,
  withdrawn_at timestamptz,
  resumed_at timestamptz,
  liked_at timestamptz
)
returns boolean
language sql
immutable
parallel safe
return coalesce(
  rejected_at > coalesce(withdrawn_at, '-infinity')
    and rejected_at >= greatest(resumed_at, liked_at, '-infinity'),
  false
);

comment on function recommend._is_rejected(timestamptz, timestamptz, timestamptz, timestamptz) is $$
@behavior -*
Returns whether a dismissal, or the leaving of an item, applies.
It does unless the person withdrew it, or later took the item again (`resumed_at`) or liked it.
$$;

grant execute on function recommend._is_rejected(timestamptz, timestamptz, timestamptz, timestamptz)
to insights_reader, insights_learner;
