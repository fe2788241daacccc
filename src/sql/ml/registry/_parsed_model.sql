create or replace function ml._parsed_model(document jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_text text;
  v_parsed jsonb;
begin
  v_text := case
    when jsonb_typeof(document) = 'string' then document #>> '{}'
    when jsonb_typeof(document) = 'object' and jsonb_typeof(document -> 'model') = 'string' then document ->> 'model'
  end;
  if v_text is null then
    return document;
  end if;
  begin
    -- The threshold of a split by categories is written as NaN, which JSON does not have.
    v_parsed := regexp_replace(v_text, '([\[,]\s*)-?NaN(?=\s*[,\]])', '\1null', 'gi');
  exception when invalid_text_representation or untranslatable_character or program_limit_exceeded then
    perform common.refuse('CF009', format('the text of the model is not JSON: %s', left(sqlerrm, 100)),
      'Give what save_model("model.json") or json.dumps(dump_model()) writes; UBJSON and pickles cannot be read.');
  end;
  return case
    when jsonb_typeof(document) = 'object' then jsonb_set(document, '{model}', v_parsed)
    else v_parsed
  end;
end;
$$;

comment on function ml._parsed_model(jsonb) is $$
A document whose model is given as text, with the model parsed; any other document as it is. Error CF009.
$$;

grant execute on function ml._parsed_model(jsonb) to insights_admin, insights_worker;
