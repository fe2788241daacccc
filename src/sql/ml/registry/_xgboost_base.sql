create or replace function ml._xgboost_base(base_score jsonb, link text)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  -- 0.5, "5E-1", and from version 3.1 on "[5E-1]": one for each class or target.
  v_text constant text := btrim(base_score #>> '{}', E'[]" \t\n');
  v_base float8;
begin
  if v_text is null or v_text = '' then
    perform common.refuse(
      'CF009',
      'the base score is not given, and a dump does not contain it',
      'XGBoost estimates it from the data. Give what save_model("model.json") writes, or add "base_score" from '
        || 'json.loads(booster.save_config())["learner"]["learner_model_param"]["base_score"].'
    );
  elsif v_text ~ ',' then
    perform common.refuse(
      'CF009',
      format('there are several base scores, %s', left(base_score #>> '{}', 100)),
      'There is one base score for each class or target; a model here has one answer, so one base score is expected.'
    );
  end if;
  begin
    v_base := ml._single_precision(v_text::float8);
    v_base := case link
      when 'logit' then ln(v_base / (1 - v_base))
      when 'log' then ln(v_base)
      else v_base
    end;
  exception when invalid_text_representation or numeric_value_out_of_range or invalid_argument_for_logarithm
    or division_by_zero then
    v_base := 'NaN';
  end;
  if v_base = 'NaN' or abs(v_base) = 'Infinity' then
    perform common.refuse(
      'CF009',
      format('the base_score is %s', left(base_score #>> '{}', 100)),
      case link
        when 'logit' then 'Give a probability, a number between 0 and 1.'
        when 'log' then 'Give a number above 0.'
        else 'Give a number.'
      end
    );
  end if;
  return v_base;
end;
$$;

comment on function ml._xgboost_base(jsonb, text) is $$
The base score of a model of XGBoost, given in the unit of the answer, in the unit of the raw score.
Error CF009: it is absent, one of several, or not in the range of the link.
$$;

grant execute on function ml._xgboost_base(jsonb, text) to insights_admin, insights_worker;
