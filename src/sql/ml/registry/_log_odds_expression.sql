create or replace function ml._log_odds_expression(document jsonb, score text)
returns text
language sql
stable
parallel safe
begin atomic
  select format(
    '(select case when odds is not null then least(greatest(odds, -700), 700) end
      from (select %s as odds offset 0) as given)',
    case
      when document #>> '{calibration,method}' = 'platt' then format('%L::float8 * %s + %L::float8',
        (document #>> '{calibration,slope}')::float8, score, (document #>> '{calibration,intercept}')::float8)
      when document ->> 'link' = 'logit' and not document ? 'calibration' then score
      -- A probability, kept 1e-15 away from 0 and 1.
      else format(
        '(select ln(share / (1 - share))
          from (
            select least(greatest(answer, 1e-15), 1 - 1e-15) as share
            from (select %s as answer offset 0) as answered
            where answer is not null
            offset 0
          ) as bounded)',
        ml._answer_expression(document, score)
      )
    end
  );
end;

comment on function ml._log_odds_expression(jsonb, text) is $$
SQL that makes the log odds of a model's answer, a probability, from the SQL of its raw score, between -700 and 700.
$$;

grant execute on function ml._log_odds_expression(jsonb, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
