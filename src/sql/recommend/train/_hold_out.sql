create or replace function recommend._hold_out(most_people int, seed bigint)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_held_out int;
begin
  -- The last item of a person is held out: it is the item that should have been recommended before.
  with last_taken as (
    select distinct on (taken.person_id) taken.person_id, taken.item_id
    from (
      select training.*, count(*) over (partition by training.person_id) as item_count
      from pg_temp.training
    ) as taken
    where taken.item_count > 1
      and taken.strength = 1
    order by taken.person_id, taken.first_at desc, taken.item_id
  ),

  sample as (
    select
      last_taken.*,
      row_number() over (order by hashint8extended(last_taken.person_id, _hold_out.seed), last_taken.person_id) as n
    from last_taken
  )

  update pg_temp.training
  set is_held_out = true, is_tuning = sample.n % 2 = 0
  from sample
  where sample.n <= _hold_out.most_people
    and training.person_id = sample.person_id
    and training.item_id = sample.item_id;
  get diagnostics v_held_out = row_count;

  -- Half of the test people select the ridge, the other half measure the model. Fewer than 40 people do both.
  if v_held_out < 40 then
    update pg_temp.training set is_tuning = null where is_held_out;
  end if;
  return v_held_out;
end;
$$;

comment on function recommend._hold_out(int, bigint) is $$
@behavior -*
Marks the held-out rows of a training: the last item of at most `most_people` people. Returns their number.
The same seed and data select the same people. `is_tuning`: true for the half that selects the ridge, false for the
half that measures, null for both.
$$;
