create or replace function ml._shares(answers float8[])
returns float8[]
language sql
immutable
parallel safe
begin atomic
  select case
    when array_position(answers, null) is null then array_agg(
      case when total > 0 then answer / total else 1.0::float8 / cardinality(answers) end order by place
    )
  end
  from (
    select answer, place, sum(answer) over () as total
    from unnest(answers) with ordinality as listed (answer, place)
  ) as summed;
end;

comment on function ml._shares(float8[]) is $$
Values of at least 0 in the proportion that sums to 1, all alike where all are 0; null when one is null.
$$;

create or replace function ml._answer_expression(document jsonb, score text)
returns text
language sql
stable
parallel safe
begin atomic
  select case
    when document ? 'classes' then case
      when document ? 'calibration' then format(
        '(select ml._shares(array[%s]) from (select %s as p offset 0) as uncalibrated)',
        (
          select string_agg(
            case document #>> '{calibration,method}'
              when 'platt' then format(
                '1 / (1 + exp(-least(greatest(%L::float8 * ml._log_odds(p[%s]) + %L::float8, -700), 700)))',
                (part ->> 'slope')::float8, place, (part ->> 'intercept')::float8
              )
              else format(
                'ml._interpolate(p[%s], %L::float8[], %L::float8[])', place,
                array(select value::float8 from jsonb_array_elements_text(part -> 'scores') as value),
                array(select value::float8 from jsonb_array_elements_text(part -> 'answers') as value)
              )
            end,
            ', ' order by place
          )
          from jsonb_array_elements(document #> '{calibration,classes}') with ordinality as listed (part, place)
        ),
        uncalibrated.probabilities
      )
      else uncalibrated.probabilities
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
  ) as calibrated
  cross join (
    select case document ->> 'link' when 'softmax' then format('ml._softmax(%s)', _answer_expression.score)
      else _answer_expression.score end as probabilities
  ) as uncalibrated;
end;

comment on function ml._answer_expression(jsonb, text) is $$
SQL that makes the answer of a model from the SQL of its raw score: calibration, then the inverse of the link.
With several classes it is an array of their probabilities: calibrated, the answers of the classes, each against the
others, in the proportion that sums to 1.
$$;

grant execute on function ml._shares(float8[]), ml._answer_expression(jsonb, text)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
