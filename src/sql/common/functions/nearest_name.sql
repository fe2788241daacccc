create or replace function common.nearest_name(
  name text,
  candidates text[]
)
returns text
language sql
immutable
parallel safe
begin atomic
  select ranked.candidate
  from (
    select
      candidate,
      (
        select 2.0 * count(*) filter (where pair.sides = 2) / greatest(sum(pair.sides), 1)
        from (
          select side.bigram, count(distinct side.which) as sides
          from (
            select 1 as which, substr(' ' || lower(nearest_name.name) || ' ', position, 2) as bigram
            from generate_series(1, length(nearest_name.name) + 1) as position
            union
            select 2, substr(' ' || lower(candidate) || ' ', position, 2)
            from generate_series(1, length(candidate) + 1) as position
          ) as side
          group by side.bigram
        ) as pair
      ) as similarity
    from (
      select given.candidate
      from unnest(nearest_name.candidates) as given (candidate)
      where length(given.candidate) <= 100
        and length(nearest_name.name) <= 100
      limit 1000
    ) as near
  ) as ranked
  where ranked.similarity >= 0.3
  order by ranked.similarity desc, ranked.candidate
  limit 1;
end;

comment on function common.nearest_name(text, text[]) is $$
Returns the candidate that shares most pairs of letters with a name, for error messages.
The similarity is the Dice coefficient; null when none reaches 0.3.
Only names of at most 100 characters are compared, with the first 1,000 such candidates.
$$;

grant execute on function common.nearest_name(text, text[]) to insights_reader, insights_visitor, insights_learner,
  insights_analyst, insights_admin, insights_worker;
