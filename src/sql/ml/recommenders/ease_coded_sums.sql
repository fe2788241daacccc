create or replace function ml.ease_coded_sums(
  relation regclass,
  person_exponent float8 default 0
)
returns ml.ease_sums
language plpgsql
stable
set search_path from current
as $$
begin
  perform ml._check_coded(relation, array['person_no', 'item_no', 'weight']);
  if person_exponent is null or not person_exponent between 0 and 2 then
    perform common.refuse('CF001', format('person_exponent is %s', coalesce(person_exponent::text, 'null')),
      'Give a number from 0 (each row counts the same) to 2.');
  end if;
  return ml._ease_gram(relation, 'person_no', 'item_no', 'weight', person_exponent);
end;
$$;

comment on function ml.ease_coded_sums(regclass, float8) is $$
@behavior -*
The sums that EASE and EDLAE are trained from, of coded interactions as for `ml.ease_neighbours`.
Several ridges are tried on one reading, by `ml.edlae_weights`. A person with n items counts with the factor
n ^ -`person_exponent`, divided by its mean over the people.
Errors: CF001 (person_exponent, weights), CF002 (a column is absent), CF004 (no rows), CF008 (too many items).
$$;

grant execute on function ml.ease_coded_sums(regclass, float8) to insights_analyst, insights_admin, insights_worker;
