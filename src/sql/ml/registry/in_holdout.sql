create or replace function ml.in_holdout(key text, share float8 default 0.25)
returns boolean
language sql
immutable
strict
parallel safe
begin atomic
  select hashtextextended(key, 20) & 1048575 < (least(greatest(nullif(share, 'NaN'), 0), 1) * 1048576)::int;
end;

comment on function ml.in_holdout(text, float8) is $$
@behavior -*
Whether ml.train holds out the row, or the group, of this key:
by a hash that no seed changes, so no version is trained on what the next one is compared on.
For models that are trained elsewhere: the condition of their challenge is `ml.in_holdout(id::text)`. Null when an
argument is null; a share below 0 counts as 0, and one above 1 as 1.
$$;

grant execute on function ml.in_holdout(text, float8) to insights_reader, insights_analyst, insights_admin,
  insights_worker;
