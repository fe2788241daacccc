create or replace function ml._answer_expression(document jsonb, score text)
returns text
language sql
stable
parallel safe
begin atomic
  select case
    when document ? 'classes' then case document ->> 'link'
      when 'softmax' then format('ml._softmax(%s)', score)
      else score
    end
    when document ->> 'kind' = 'ensemble' then format(
      '(select case when odds is not null then 1 / (1 + exp(-least(greatest(odds, -700), 700))) end
        from (select %s as odds offset 0) as given)',
      score
    )
    when document #>> '{calibration,method}' = 'isotonic' then format(
      'ml._interpolate(%s, %L::float8[], %L::float8[])', score,
      array(select value::float8 from jsonb_array_elements_text(document #> '{calibration,scores}') as value),
      array(select value::float8 from jsonb_array_elements_text(document #> '{calibration,answers}') as value)
    )
    else format(
      -- greatest() and least() ignore a null: a key without an embedding or a score has no answer, whatever the link.
      case when document ->> 'kind' in ('embeddings', 'scores') then 'case when %1$s is not null then %2$s end'
        else '%2$s' end,
      calibrated.score,
      case document ->> 'link'
        when 'logit' then format('1 / (1 + exp(-least(greatest(%s, -700), 700)))', calibrated.score)
        when 'log' then format('exp(least(greatest(%s, -700), 700))', calibrated.score)
        else calibrated.score
      end
    )
  end
  from (
    select case
      when document #>> '{calibration,method}' = 'platt' then format(
        '(%L::float8 * %s + %L::float8)', (document #>> '{calibration,slope}')::float8,
          _answer_expression.score, (document #>> '{calibration,intercept}')::float8
      )
      else _answer_expression.score
    end as score
  ) as calibrated;
end;

comment on function ml._answer_expression(jsonb, text) is $$
SQL that makes the answer of a model from the SQL of its raw score: calibration, then the inverse of the link.
With several classes it is an array of their probabilities.
$$;

grant execute on function ml._answer_expression(jsonb, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
