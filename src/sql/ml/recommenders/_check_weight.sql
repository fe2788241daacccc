create or replace function ml._check_weight(relation regclass, least_weight real, greatest_weight real)
returns void
language plpgsql
stable
set search_path from current
as $$
begin
  if least_weight < 0 or greatest_weight > 1e15 then -- NaN is the greatest number
    perform common.refuse(
      'CF001',
      format('%s has the weight %s', relation, case when least_weight < 0 then least_weight else greatest_weight end),
      'The weights of a person and an item add up to a finite number from 0 to 1e15; 1 means "was here". '
        'A dislike is not a weight: give it 0.'
    );
  end if;
end;
$$;

comment on function ml._check_weight(regclass, real, real) is $$
Raises CF001 unless the least and the greatest weight of a relation are from 0 to 1e15: squares of them are added.
$$;

grant execute on function ml._check_weight(regclass, real, real)
to insights_analyst, insights_admin, insights_worker;
